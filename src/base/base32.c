#include "base/base32.h"

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

void base32_format(uint64_t value, char ret[BASE32_TEXT_SIZE])
{
    for (int i = BASE32_DIGITS - 1; i >= 0; i--) {
        ret[i] = digits[value & 31];
        value >>= 5;
    }
    ret[BASE32_DIGITS] = '\0';
}

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        c = (char)(c - 'A' + 'a');
    }
    if (c == 'i' || c == 'l') {
        return 1;
    }
    if (c == 'o') {
        return 0;
    }
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

bool base32_parse(struct slice text, uint64_t *ret_value)
{
    if (text.len != BASE32_DIGITS) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < BASE32_DIGITS; i++) {
        int digit = digit_of(text.data[i]);
        if (digit < 0 || (i == 0 && digit > 15)) { /* 13 * 5 = 65 bits: the first digit has only four */
            return false;
        }
        value = value << 5 | (uint64_t)digit;
    }
    *ret_value = value;
    return true;
}
