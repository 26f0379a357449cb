/* verify.c - shoal verify: replays a data directory and compares it with its snapshots. */
#include "hub/verify.h"

#include <inttypes.h>

#include "base/hash.h"
#include "cli/daemon.h"

enum status cli_verify(struct cli *cli)
{
    struct verify_report report = {0};
    struct buf why, out;
    char dir[4200];
    daemon_hub_data(cli, dir, sizeof(dir));
    buf_init(&why, 4096);
    buf_init(&out, 65536);
    enum status status = verify_run(dir, &report, &why);
    if (status != STATUS_OK) {
        cli_fail(cli, status, "%s", why.len > 0 ? buf_cstr(&why) : status_title(status));
    } else {
        char hash[SHA256_HEX_SIZE];
        hex_encode(report.state_hash, sizeof(report.state_hash), hash);
        if (cli_flag(cli, "json")) {
            buf_printf(&out,
                       "{\"ok\":true,\"snapshots\":%" PRIu32 ",\"snapshots_compared\":%" PRIu32 ",\"base_seq\":%" PRIu64
                       ",\"entries\":%" PRIu64 ",\"last_seq\":%" PRIu64 ",\"stood_in\":%" PRIu64
                       ",\"undecodable\":%" PRIu64 ",\"torn_size\":%" PRIu64 ",\"tasks_live\":%" PRIu64
                       ",\"history_seq\":%" PRIu64 ",\"state_hash\":\"%s\"}\n",
                       report.snapshots, report.snapshots_compared, report.base_seq, report.entries, report.last_seq,
                       report.stood_in, report.undecodable, report.torn_size, report.tasks_live, report.history_seq,
                       hash);
        } else {
            buf_printf(&out,
                       "The data is sound: %" PRIu64 " entries replayed after %" PRIu64 ", up to %" PRIu64 "; %" PRIu32
                       " of %" PRIu32 " snapshots compared; %" PRIu64 " tasks in memory.\n"
                       "State hash %s.\n",
                       report.entries, report.base_seq, report.last_seq, report.snapshots_compared, report.snapshots,
                       report.tasks_live, hash);
        }
        if (!cli_flag(cli, "json") && report.stood_in > 0) {
            buf_printf(&out,
                       "The journal lacks %" PRIu64 " entries%s%" PRIu64 " to %" PRIu64
                       ": nothing to replay, the snapshot at entry %" PRIu64 " stands in for them.\n",
                       report.stood_in,
                       report.stood_in == report.stood_in_last - report.stood_in_first + 1 ? ", " : ", the newest are ",
                       report.stood_in_first, report.stood_in_last, report.stood_in_last);
        }
        if (!cli_flag(cli, "json") && report.torn_size > 0) {
            buf_printf(&out,
                       "The last write was cut short (%" PRIu64 " bytes that nobody was told of); the next start "
                       "removes them.\n",
                       report.torn_size);
        }
        status = cli_print(buf_slice(&out));
    }
    buf_free(&why);
    buf_free(&out);
    return status;
}
