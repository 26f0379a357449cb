/* url.h - http:// and ws:// addresses taken apart. Pure, any thread. */
#ifndef SHOAL_NET_URL_H
#define SHOAL_NET_URL_H

#include <stddef.h>
#include <stdint.h>

#define URL_HOST_SIZE 256

struct url {
    char host[URL_HOST_SIZE];           /* a name or an address, without the brackets of IPv6 */
    char authority[URL_HOST_SIZE + 16]; /* for the Host field */
    uint16_t port;                      /* 80 when the text has none */
    const char *path; /* into the text, with the query; not NUL-terminated, empty when there is none */
    size_t path_len;
};

/* NULL: ret_url is filled. Else what is wrong, as one sentence in static storage. */
const char *url_parse(const char *text, struct url *ret_url);

#endif
