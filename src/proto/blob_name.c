/* blob_name.c - see blob_name.h. */
#include "proto/blob_name.h"

#include <string.h>

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool blob_digest_parse(const char hex[2 * SHA256_SIZE], uint8_t ret_digest[SHA256_SIZE])
{
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        int high = digit_of(hex[2 * i]), low = digit_of(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret_digest[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool blob_name_next(struct slice text, size_t *at, uint8_t ret_digest[SHA256_SIZE])
{
    static const char prefix[] = "sha256:";
    const size_t prefix_len = sizeof(prefix) - 1;
    while (*at + prefix_len + 2 * SHA256_SIZE <= text.len) {
        const char *found = memmem(text.data + *at, text.len - *at, prefix, prefix_len);
        if (found == NULL) {
            break;
        }
        size_t hex = (size_t)(found - text.data) + prefix_len;
        *at = hex;
        if (text.len - hex >= 2 * SHA256_SIZE && blob_digest_parse(text.data + hex, ret_digest)) {
            *at = hex + 2 * SHA256_SIZE;
            return true;
        }
    }
    *at = text.len;
    return false;
}
