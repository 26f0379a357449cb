/* fuzz_history.c - a recorded history: refused with its line, or judged, and every violation is told and counted. The same
 * bytes give the same verdict, and a line that is no record spoils whatever follows it. */
#include "sim/history_file.h"
#include "test/fuzz/fuzz.h"

struct told {
    uint64_t count, lines;
};

static void on_violated(void *ctx, uint64_t line, const char *rule, const char *why)
{
    struct told *told = ctx;
    ensure(rule[0] != '\0' && why[0] != '\0');
    told->count++;
    told->lines += line;
}

static enum status judge(struct slice text, struct told *ret_told, struct history_file_report *ret_report)
{
    *ret_told = (struct told){0};
    enum status status = history_file_check(text, &(struct history_file_hooks){on_violated, ret_told}, ret_report);
    ensure(status == STATUS_OK || status == STATUS_INVALID);
    ensure((status == STATUS_INVALID) == (ret_report->bad_line > 0));
    ensure(status == STATUS_OK ? ret_report->violations == ret_told->count
                               : ret_report->why[0] != '\0' && ret_told->count == 0);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct told first, again;
    struct history_file_report report, same;
    char *text = fuzz_copy(slice_of(data, size));
    enum status status = judge(slice_of(text, size), &first, &report);
    ensure(judge(slice_of(text, size), &again, &same) == status);
    ensure(first.count == again.count && first.lines == again.lines && report.tasks == same.tasks);
    free(text);
    struct buf spoilt;
    buf_init(&spoilt, size + 16);
    buf_append_str(&spoilt, "{}\n");
    buf_append(&spoilt, data, size);
    ensure(judge(buf_slice(&spoilt), &again, &same) == STATUS_INVALID && same.bad_line == 1);
    buf_free(&spoilt);
    return 0;
}
