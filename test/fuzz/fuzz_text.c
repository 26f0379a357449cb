/* fuzz_text.c - the small notations: ids in base 32, lease tokens, times, UTF-8. What is read is written the same, and
 * what is written is read back. */
#include "base/base32.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "proto/command.h"
#include "test/fuzz/fuzz.h"

#define YEAR_2262_NS INT64_C(9214646400000000000) /* its first moment; time_format writes the years 1970 to 2261 */

static void base32(struct slice text, uint64_t number)
{
    char digits[BASE32_TEXT_SIZE], again[BASE32_TEXT_SIZE];
    uint64_t value;
    base32_format(number, digits);
    ensure(strlen(digits) == BASE32_DIGITS);
    ensure(base32_parse(slice_str(digits), &value) && value == number);
    base32_format(number / 3, again);
    ensure(memcmp(digits, again, BASE32_DIGITS) >= 0); /* text order is number order */
    if (base32_parse(text, &value)) {
        ensure(text.len == BASE32_DIGITS);
        base32_format(value, digits);
        ensure(base32_parse(slice_str(digits), &number) && number == value);
    }
}

static void token(struct slice text, struct lease_token token)
{
    char written[LEASE_TOKEN_TEXT_SIZE];
    struct lease_token again;
    lease_token_format(&token, written);
    ensure(lease_token_parse(slice_str(written), &again));
    ensure(again.task_id == token.task_id && again.attempt == token.attempt && again.seq == token.seq);
    if (lease_token_parse(text, &token)) { /* but for the letters of the id a token has one spelling */
        lease_token_format(&token, written);
        ensure(strlen(written) == text.len);
        ensure(memcmp(written + BASE32_DIGITS, text.data + BASE32_DIGITS, text.len - BASE32_DIGITS) == 0);
    }
}

static void time_text(struct slice text, int64_t wall_ns)
{
    char written[TIME_TEXT_SIZE];
    int64_t read_ns;
    if (time_parse(text, &read_ns) == STATUS_OK) {
        ensure(read_ns >= 0 && read_ns < YEAR_2262_NS);
        wall_ns = read_ns;
    }
    if (wall_ns >= 0 && wall_ns < YEAR_2262_NS) {
        time_format(wall_ns, written);
        ensure(time_parse(slice_str(written), &read_ns) == STATUS_OK);
        ensure(read_ns == wall_ns / 1000000 * 1000000);
    }
}

/* RFC 3629 by its table, as slow and plain as it can be. */
static bool is_utf8(const unsigned char *at, size_t len)
{
    for (size_t i = 0, more; i < len; i += more + 1) {
        unsigned char c = at[i], low = 0x80, high = 0xbf;
        more = c < 0x80                 ? 0
               : c >= 0xc2 && c <= 0xdf ? 1
               : c >= 0xe0 && c <= 0xef ? 2
               : c >= 0xf0 && c <= 0xf4 ? 3
                                        : len;
        if (more >= len - i) {
            return false;
        }
        low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : low;
        high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : high;
        for (size_t n = 1; n <= more; n++) {
            if (at[i + n] < (n == 1 ? low : 0x80) || at[i + n] > (n == 1 ? high : 0xbf)) {
                return false;
            }
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(slice_of(data, size));
    uint64_t number = size >= 8 ? reader_u64(&reader) : size;
    char *copy = fuzz_copy(slice_of(data, size));
    struct slice text = slice_of(copy, size);
    base32(text, number);
    token(text, (struct lease_token){number, (uint32_t)(number >> 7), number * 31, {{number * 37, number * 41}}});
    time_text(text, (int64_t)number);
    ensure(utf8_is_valid(text) == is_utf8(data, size));
    free(copy);
    return 0;
}
