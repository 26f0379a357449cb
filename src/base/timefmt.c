#include "base/timefmt.h"

#define NS_PER_S INT64_C(1000000000)
#define YEAR_MIN 1970
#define YEAR_MAX 2261 /* int64 nanoseconds end in April 2262 */

/* Days since 1970-01-01 of a civil date, and back: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = year / 400;
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

static void civil_from_days(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    days += 719468;
    int64_t era = days / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (5 * day_of_year + 2) / 153;
    *ret_day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *ret_month = shifted < 10 ? shifted + 3 : shifted - 9;
    *ret_year = (int64_t)year_of_era + era * 400 + (*ret_month <= 2);
}

static char *put_digits(char *at, unsigned value, size_t count)
{
    for (size_t i = count; i > 0; i--) {
        at[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + count;
}

void time_format(int64_t wall_ns, char ret[TIME_TEXT_SIZE])
{
    if (wall_ns < 0) {
        wall_ns = 0;
    }
    int64_t seconds = wall_ns / NS_PER_S;
    unsigned ms = (unsigned)(wall_ns % NS_PER_S / 1000000);
    unsigned of_day = (unsigned)(seconds % 86400);
    int64_t year;
    unsigned month, day;
    civil_from_days(seconds / 86400, &year, &month, &day);
    /* By hand: an answer carries several times, and snprintf took a tenth of a lease's whole cost. */
    char *at = put_digits(ret, (unsigned)year, 4);
    *at++ = '-';
    at = put_digits(at, month, 2);
    *at++ = '-';
    at = put_digits(at, day, 2);
    *at++ = 'T';
    at = put_digits(at, of_day / 3600, 2);
    *at++ = ':';
    at = put_digits(at, of_day / 60 % 60, 2);
    *at++ = ':';
    at = put_digits(at, of_day % 60, 2);
    *at++ = '.';
    at = put_digits(at, ms, 3);
    *at++ = 'Z';
    *at = '\0';
}

static bool number(struct slice *text, size_t digits, unsigned *ret)
{
    if (text->len < digits) {
        return false;
    }
    unsigned value = 0;
    for (size_t i = 0; i < digits; i++) {
        char c = text->data[i];
        if (c < '0' || c > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(c - '0');
    }
    *text = slice_of(text->data + digits, text->len - digits);
    *ret = value;
    return true;
}

static bool literal(struct slice *text, const char *any_of)
{
    if (text->len == 0 || strchr(any_of, text->data[0]) == NULL || text->data[0] == '\0') {
        return false;
    }
    *text = slice_of(text->data + 1, text->len - 1);
    return true;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && is_leap ? 29 : days[month - 1];
}

enum status time_parse(struct slice text, int64_t *ret_wall_ns)
{
    unsigned year, month, day, hour, minute, second;
    if (!number(&text, 4, &year) || !literal(&text, "-") || !number(&text, 2, &month) || !literal(&text, "-") ||
        !number(&text, 2, &day) || !literal(&text, "Tt ") || !number(&text, 2, &hour) || !literal(&text, ":") ||
        !number(&text, 2, &minute) || !literal(&text, ":") || !number(&text, 2, &second)) {
        return STATUS_INVALID;
    }
    if (year < YEAR_MIN || year > YEAR_MAX || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) ||
        hour > 23 || minute > 59 || second > 60) {
        return STATUS_INVALID;
    }
    int64_t fraction_ns = 0;
    if (literal(&text, ".")) {
        int64_t scale = NS_PER_S / 10;
        unsigned digit;
        if (text.len == 0 || text.data[0] < '0' || text.data[0] > '9') {
            return STATUS_INVALID;
        }
        while (number(&text, 1, &digit)) {
            fraction_ns += digit * scale;
            scale /= 10;
        }
    }
    int64_t offset_s = 0;
    if (!literal(&text, "Zz")) {
        bool is_west = text.len > 0 && text.data[0] == '-';
        unsigned offset_hour, offset_minute;
        if (!literal(&text, "+-") || !number(&text, 2, &offset_hour) || !literal(&text, ":") ||
            !number(&text, 2, &offset_minute) || offset_hour > 23 || offset_minute > 59) {
            return STATUS_INVALID;
        }
        offset_s = (int64_t)offset_hour * 3600 + (int64_t)offset_minute * 60;
        offset_s = is_west ? -offset_s : offset_s;
    }
    if (text.len != 0) {
        return STATUS_INVALID;
    }
    int64_t seconds = days_from_civil(year, month, day) * 86400 + (int64_t)hour * 3600 + (int64_t)minute * 60 +
                      (int64_t)second - offset_s;
    if (seconds < 0 || seconds >= days_from_civil(YEAR_MAX + 1, 1, 1) * 86400) { /* its offset may carry it out */
        return STATUS_INVALID;
    }
    *ret_wall_ns = seconds * NS_PER_S + fraction_ns;
    return STATUS_OK;
}
