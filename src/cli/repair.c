/* repair.c - shoal repair: cuts a damaged journal at its first damage, and says what that costs. */
#include <inttypes.h>

#include "base/json.h"
#include "cli/daemon.h"
#include "hub/verify.h"

enum status cli_repair(struct cli *cli)
{
    struct file_journal_repair report = {0};
    struct buf why, out;
    char dir[4200];
    daemon_hub_data(cli, dir, sizeof(dir));
    buf_init(&why, 4096);
    buf_init(&out, 65536);
    bool is_dry_run = cli_flag(cli, "dry-run");
    enum status status = repair_run(dir, is_dry_run, &report, &why);
    if (status != STATUS_OK) {
        cli_fail(cli, status, "%s", why.len > 0 ? buf_cstr(&why) : status_title(status));
    } else if (cli_flag(cli, "json")) {
        buf_printf(&out,
                   "{\"dry_run\":%s,\"kept_last_seq\":%" PRIu64 ",\"lost_entries\":", is_dry_run ? "true" : "false",
                   report.kept_last_seq);
        if (report.lost_entries == UINT64_MAX) {
            buf_append_str(&out, "null");
        } else {
            buf_append_u64_dec(&out, report.lost_entries);
        }
        buf_printf(&out, ",\"files_changed\":%" PRIu32 ",\"detail\":", report.files_changed);
        json_write_str(&out, slice_str(report.detail));
        buf_append_str(&out, "}\n");
        status = cli_print(buf_slice(&out));
    } else if (report.files_changed == 0) {
        buf_append_str(&out, "There is nothing to repair.\n");
        status = cli_print(buf_slice(&out));
    } else {
        buf_printf(&out, "%s\n%s up to entry %" PRIu64 "; ", report.detail,
                   is_dry_run ? "Everything would be kept" : "Everything is kept", report.kept_last_seq);
        if (report.lost_entries == UINT64_MAX) {
            buf_append_str(&out, "how many entries after it are lost cannot be told");
        } else if (report.lost_entries == 0) {
            buf_append_str(&out, is_dry_run ? "nothing would be lost" : "nothing is lost");
        } else {
            buf_printf(&out, "%" PRIu64 " sound entries after the damage %s", report.lost_entries,
                       is_dry_run ? "would be lost" : "are lost");
        }
        buf_printf(&out, ". %" PRIu32 " file%s %s.%s\n", report.files_changed, report.files_changed == 1 ? "" : "s",
                   is_dry_run ? "would change" : "changed", is_dry_run ? " Nothing was changed." : "");
        status = cli_print(buf_slice(&out));
    }
    buf_free(&why);
    buf_free(&out);
    return status;
}
