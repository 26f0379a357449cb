#include "check.h"

#include "base/printable.h"

static void expect(struct slice text, enum printable form, const char *wanted)
{
    struct buf out;
    buf_init(&out, 4096);
    printable_append(&out, text, form);
    assert_int_equal(buf_status(&out), STATUS_OK);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_free(&out);
}

static void test_what_moves_a_terminal_is_shown(void **state)
{
    (void)state;
    expect(SLICE("\x1b[2J\x1b]0;title\x07gone\rover"), PRINTABLE_LINES,
           "\\u001b[2J\\u001b]0;title\\u0007gone\\u000dover");
    expect(SLICE("a\0b\x7f"), PRINTABLE_LINES, "a\\u0000b\\u007f");
    expect(SLICE("\xc2\x9b"
                 "31mred"),
           PRINTABLE_LINES, "\\u009b31mred"); /* CSI in one character */
    expect(SLICE("abc\xe2\x80\xae"
                 "fdp.exe"),
           PRINTABLE_LINES, "abc\\u202efdp.exe");
    expect(SLICE("\xff\xc0\xaf\xe2\x80"), PRINTABLE_LINES, "\\xff\\xc0\\xaf\\xe2\\x80"); /* no UTF-8, cut short */
}

static void test_lines_and_a_line(void **state)
{
    (void)state;
    expect(SLICE("a\n\tb"), PRINTABLE_LINES, "a\n\tb");
    expect(SLICE("a\n\tb"), PRINTABLE_LINE, "a\\u000a\\u0009b");
    expect(SLICE("one\xe2\x80\xa8two"), PRINTABLE_LINE, "one\\u2028two");
    expect(SLICE(""), PRINTABLE_LINE, "");
}

static void test_text_stays(void **state)
{
    (void)state;
    const char *text = "Grüße, 世界 … → “q” 🐟 \xcc\x81";
    expect(slice_str(text), PRINTABLE_LINE, text);
}

static void paint(struct slice text, bool has_color, const char *wanted)
{
    struct buf out;
    buf_init(&out, 4096);
    paint_append(&out, text, has_color);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_free(&out);
}

static void test_marks_are_ours_alone(void **state)
{
    (void)state;
    paint(SLICE(PAINT_RED "dead" PAINT_PLAIN "\n"), true, "\033[31mdead\033[0m\n");
    paint(SLICE(PAINT_RED "dead" PAINT_PLAIN "\n"), false, "dead\n");
    paint(SLICE(PAINT_LINE_START "x"), false, "\r\033[Kx");
    paint(SLICE("a\xff\n"), true, "a\\xff\n"); /* a byte that is no mark takes nothing with it */
    paint(SLICE("\xff\xff"
                "0\xff"),
          true, "\\xff\033[0m\\xff");
    struct buf out;
    buf_init(&out, 4096);
    buf_append_str(&out, "first\n");
    size_t begin = out.len;
    buf_append_str(&out, PAINT_GREEN "a\nb" PAINT_PLAIN "\xff");
    paint_end_line(&out, begin);
    assert_string_equal(buf_cstr(&out), "first\n" PAINT_GREEN "a\\u000ab" PAINT_PLAIN "\\xff\n");
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_moves_a_terminal_is_shown),
        cmocka_unit_test(test_lines_and_a_line),
        cmocka_unit_test(test_text_stays),
        cmocka_unit_test(test_marks_are_ours_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
