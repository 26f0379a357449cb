/* url.c - see url.h. What is not understood is refused with a sentence, never guessed at. */
#include "net/url.h"

#include <string.h>
#include <strings.h>

static const char *skip_scheme(const char *url, const char *scheme)
{
    size_t len = strlen(scheme);
    return strncasecmp(url, scheme, len) == 0 ? url + len : NULL;
}

const char *url_parse(const char *text, struct url *ret_url)
{
    *ret_url = (struct url){.port = 80};
    if (skip_scheme(text, "wss://") != NULL || skip_scheme(text, "https://") != NULL) {
        return "https:// and wss:// are not supported yet; use http://.";
    }
    const char *at = skip_scheme(text, "ws://");
    if (at == NULL) {
        at = skip_scheme(text, "http://");
    }
    if (at == NULL) {
        return "A URL begins with http:// or ws://.";
    }
    size_t authority_len = strcspn(at, "/?#");
    const char *path = at + authority_len;
    if (authority_len == 0 || authority_len >= sizeof(ret_url->authority)) {
        return "The host of the URL is missing or too long.";
    }
    for (const char *c = at; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f) {
            return "The URL has a character that may not be in one.";
        }
    }
    if (memchr(at, '@', authority_len) != NULL) {
        return "A user in the URL is not supported.";
    }
    memcpy(ret_url->authority, at, authority_len);
    const char *host = at;
    const char *host_end;
    const char *rest;
    if (*at == '[') {
        host = at + 1;
        host_end = memchr(at, ']', authority_len);
        if (host_end == NULL) {
            return "The address of the URL has no closing bracket.";
        }
        rest = host_end + 1;
    } else {
        host_end = memchr(at, ':', authority_len);
        host_end = host_end != NULL ? host_end : at + authority_len;
        rest = host_end;
    }
    if (host_end == host || (size_t)(host_end - host) >= sizeof(ret_url->host)) {
        return "The host of the URL is missing or too long.";
    }
    memcpy(ret_url->host, host, (size_t)(host_end - host));
    if (rest < path) {
        if (*rest != ':' || rest + 1 == path || path - rest > 6) {
            return "The port of the URL is not a number from 1 to 65535.";
        }
        unsigned port = 0;
        for (const char *digit = rest + 1; digit < path; digit++) {
            if (*digit < '0' || *digit > '9') {
                return "The port of the URL is not a number from 1 to 65535.";
            }
            port = port * 10 + (unsigned)(*digit - '0');
        }
        if (port == 0 || port > 65535) {
            return "The port of the URL is not a number from 1 to 65535.";
        }
        ret_url->port = (uint16_t)port;
    }
    ret_url->path = path;
    ret_url->path_len = strcspn(path, "#");
    return NULL;
}
