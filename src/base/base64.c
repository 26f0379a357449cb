/* base64.c - bytes as text and back. */
#include "base/base64.h"

#include <stdint.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_len(size_t len)
{
    return (len + 2) / 3 * 4;
}

void base64_encode(struct buf *out, struct slice bytes)
{
    const unsigned char *at = (const unsigned char *)bytes.data;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group =
            (uint32_t)at[i] << 16 | (left > 1 ? (uint32_t)at[i + 1] << 8 : 0) | (left > 2 ? at[i + 2] : 0u);
        char four[4] = {digits[group >> 18], digits[group >> 12 & 63], left > 1 ? digits[group >> 6 & 63] : '=',
                        left > 2 ? digits[group & 63] : '='};
        buf_append(out, four, sizeof(four));
    }
}

/* The value of a digit; 64 when it is none. */
static uint32_t value_of(char c)
{
    const char *at = c != 0 ? strchr(digits, c) : NULL;
    return at != NULL ? (uint32_t)(at - digits) : 64;
}

bool base64_decode(struct buf *out, struct slice text)
{
    if (text.len % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < text.len; i += 4) {
        const char *four = text.data + i;
        bool is_last = i + 4 == text.len;
        size_t pads = is_last && four[3] == '=' ? (four[2] == '=' ? 2 : 1) : 0;
        uint32_t group = 0;
        for (size_t j = 0; j < 4; j++) {
            uint32_t value = j < 4 - pads ? value_of(four[j]) : 0;
            if (value == 64) {
                return false;
            }
            group = group << 6 | value;
        }
        if ((pads == 1 && (group & 0xff) != 0) || (pads == 2 && (group & 0xffff) != 0)) {
            return false;
        }
        char three[3] = {(char)(group >> 16), (char)(group >> 8 & 0xff), (char)(group & 0xff)};
        buf_append(out, three, 3 - pads);
    }
    return true;
}
