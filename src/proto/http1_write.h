/* http1_write.h - the bytes of HTTP/1.1 answers, and percent-decoding. Pure, any thread. */
#ifndef SHOAL_PROTO_HTTP1_WRITE_H
#define SHOAL_PROTO_HTTP1_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
#define HTTP1_DATE_SIZE 30
/* IMF-fixdate (RFC 9110 5.6.7) with its NUL; seconds since 1970, 0 to year 9999. */
void http1_format_date(int64_t unix_s, char ret[HTTP1_DATE_SIZE]);

/* "HTTP/1.1 404 Not Found\r\n"; codes without a phrase of their own get the phrase of their class. Static storage for the
 * codes that Shoal sends; false when the caller has to print the number itself. */
bool http1_status_line(int status, struct slice *ret_line);

enum http1_connection { HTTP1_CONNECTION_DEFAULT, HTTP1_CONNECTION_CLOSE, HTTP1_CONNECTION_KEEP_ALIVE };

#define HTTP1_LENGTH_CHUNKED UINT64_MAX
#define HTTP1_LENGTH_NONE (UINT64_MAX - 1) /* neither Content-Length nor Transfer-Encoding */

struct http1_answer_head {
    int status;
    const char *date;         /* HTTP1_DATE_SIZE - 1 bytes; NULL: none */
    const char *content_type; /* NULL: none */
    uint64_t length;          /* of the content, or HTTP1_LENGTH_… */
    enum http1_connection connection;
    struct slice headers; /* further lines, each ended by \r\n */
};
/* Appends the head with its empty line. The caller vouches for content_type and headers. */
void http1_write_head(struct buf *out, const struct http1_answer_head *head);
/* Appends "<hex>\r\n"; the caller appends the piece and "\r\n". */
void http1_write_chunk_size(struct buf *out, uint64_t size);

/* Appends the text with %xx (and '+' when asked) decoded. A malformed escape is left as it is. */
void http1_percent_decode(struct slice text, bool plus_is_space, struct buf *out);
/* The raw value of a name in "a=1&b=2"; names are compared after decoding. False when missing. */
bool http1_query_find(struct slice query, const char *name, struct slice *ret_raw);

#endif
