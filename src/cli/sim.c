/* sim.c - shoal sim: runs histories in the simulator, and tells of one that fails how to see it again. */
#include "sim/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mutation.h"
#include "bench/scenario.h"
#include "cli/cli.h"
#include "sim/history_file.h"

#define WORKLOAD_SIZE_MAX (64u << 10)
#define HISTORY_SIZE_MAX (2u << 30)
#define TOLD_MAX 100u /* violations of a recorded history that are printed */

/* "kill,cut" or "all,-power" as bits. */
static bool read_faults(struct slice list, unsigned *ret_faults)
{
    *ret_faults = list.len > 0 && list.data[0] == '-' ? SIM_FAULTS_ALL : 0;
    while (list.len > 0) {
        const char *comma = memchr(list.data, ',', list.len);
        size_t len = comma != NULL ? (size_t)(comma - list.data) : list.len;
        struct slice word = slice_of(list.data, len);
        bool is_minus = len > 0 && word.data[0] == '-';
        if (is_minus) {
            word = slice_of(word.data + 1, word.len - 1);
        }
        unsigned bits = slice_equal_str(word, "all") ? SIM_FAULTS_ALL : 0;
        for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
            if (slice_equal_str(word, sim_fault_name((enum sim_fault)i))) {
                bits = 1u << i;
            }
        }
        if (bits == 0 && !slice_equal_str(word, "none")) {
            return false;
        }
        *ret_faults = is_minus ? *ret_faults & ~bits : *ret_faults | bits;
        len += comma != NULL;
        list = slice_of(list.data + len, list.len - len);
    }
    return true;
}

static void write_faults(struct buf *out, unsigned faults)
{
    if (faults == SIM_FAULTS_ALL || faults == 0) {
        buf_append_str(out, faults == 0 ? "none" : "all");
        return;
    }
    const char *comma = "";
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
        if ((faults & 1u << i) != 0) {
            buf_printf(out, "%s%s", comma, sim_fault_name((enum sim_fault)i));
            comma = ",";
        }
    }
}

/* Of a workload file, or of a scenario of the load generator: one grammar. */
static enum status read_workload(struct cli *cli, const char *path, struct workload *ret_workload)
{
    char why[512] = "";
    if (path == NULL) {
        workload_default(ret_workload);
        return STATUS_OK;
    }
    enum status status = scenario_load_workload(path, ret_workload, why, sizeof(why));
    if (status == STATUS_OK) {
        status = sim_accepts(ret_workload, why, sizeof(why));
    }
    if (status == STATUS_OK) {
        return status;
    }
    return cli_fail(cli, status == STATUS_INVALID ? STATUS_USAGE : status, "%s: %s", path, why);
}

/* The command that shows this history again. */
static void write_command(const struct cli *cli, const struct sim_options *options, struct buf *out)
{
    buf_printf(out, "shoal sim --seed %" PRIu64 " --steps %" PRIu64 " --faults ", options->seed, options->steps);
    write_faults(out, options->faults);
    if (options->fault_rate != 100) {
        buf_printf(out, " --fault-rate %" PRIu32, options->fault_rate);
    }
    if (cli_text(cli, "workload") != NULL) {
        buf_printf(out, " --workload %s", cli_text(cli, "workload"));
    }
    const char *mutation = cli_text(cli, "mutation");
    if (mutation != NULL && mutation[0] != '\0') {
        buf_printf(out, " --mutation %s", mutation);
    }
}

static void tell_failure(const struct cli *cli, const struct sim_options *given, const struct sim_report *report,
                         bool is_json)
{
    struct buf out;
    buf_init(&out, 4u << 20);
    struct sim_options small = *given;
    if (!cli_flag(cli, "no-shrink")) {
        sim_shrink(&small, report);
    }
    struct buf command;
    buf_init(&command, 4096);
    write_command(cli, &small, &command);
    if (is_json) {
        buf_printf(&out,
                   "{\"ok\":false,\"seed\":%" PRIu64 ",\"rule\":\"%s\",\"step\":%" PRIu64
                   ",\"why\":\"%s\",\"replay\":\"%s\"}\n",
                   given->seed, report->rule, report->failed_step, report->why, buf_cstr(&command));
    } else {
        buf_append_str(&out, "The end of the history:\n");
        buf_append_str(&out, sim_last_events());
        buf_printf(&out, "\nSeed %" PRIu64 " fails at step %" PRIu64 ": %s: %s\n", given->seed, report->failed_step,
                   report->rule, report->why);
        buf_printf(&out, "Again, in a smaller history:\n  %s\n", buf_cstr(&command));
    }
    buf_free(&command);
    enum status status = cli_print(buf_slice(&out));
    (void)status; /* nobody reads it */
    buf_free(&out);
}

static void add(struct sim_report *sum, const struct sim_report *report)
{
    sum->trace_hash = hash_mix(sum->trace_hash ^ report->trace_hash);
    for (unsigned i = 0; i < sizeof(sum->state_hash); i++) {
        sum->state_hash[i] ^= report->state_hash[i];
    }
    sum->steps += report->steps;
    sum->commands += report->commands;
    sum->entries += report->entries;
    sum->tasks += report->tasks;
    sum->answers += report->answers;
    sum->crashes += report->crashes;
    sum->recoveries += report->recoveries;
    sum->recovered_entries += report->recovered_entries;
    sum->snapshots += report->snapshots;
    sum->faults += report->faults;
    sum->checks += report->checks;
    sum->damages += report->damages;
    sum->virtual_ns += report->virtual_ns;
}

struct times {
    double wall_s, cpu_s; /* the simulator has one thread: seconds of one core */
};

static enum status tell(const struct sim_report *sum, uint64_t seeds, const struct times *times, bool is_json)
{
    double cpu_s = times->cpu_s > 0 ? times->cpu_s : 1e-9;
    double commands_per_minute = (double)sum->commands / cpu_s * 60;
    double crashes_per_s = (double)sum->crashes / cpu_s;
    char hash[SHA256_HEX_SIZE];
    struct buf out;
    buf_init(&out, 8192);
    hex_encode(sum->state_hash, sizeof(sum->state_hash), hash);
    if (is_json) {
        buf_printf(&out,
                   "{\"ok\":true,\"seeds\":%" PRIu64 ",\"trace\":\"%016" PRIx64 "\",\"state\":\"%s\",\"steps\":%" PRIu64
                   ",\"commands\":%" PRIu64 ",\"entries\":%" PRIu64 ",\"tasks\":%" PRIu64 ",\"answers\":%" PRIu64
                   ",\"crashes\":%" PRIu64 ",\"recoveries\":%" PRIu64 ",\"recovered_entries\":%" PRIu64
                   ",\"snapshots\":%" PRIu64 ",\"damages\":%" PRIu64 ",\"faults\":%" PRIu64 ",\"checks\":%" PRIu64
                   ",\"virtual_s\":%.3f,\"seconds\":%.3f,\"cpu_seconds\":%.3f,\"commands_per_minute\":%.0f"
                   ",\"crashes_per_second\":%.1f}\n",
                   seeds, sum->trace_hash, hash, sum->steps, sum->commands, sum->entries, sum->tasks, sum->answers,
                   sum->crashes, sum->recoveries, sum->recovered_entries, sum->snapshots, sum->damages, sum->faults,
                   sum->checks, (double)sum->virtual_ns / 1e9, times->wall_s, times->cpu_s, commands_per_minute,
                   crashes_per_s);
    } else {
        buf_printf(&out,
                   "%" PRIu64 " seeds hold: %" PRIu64 " steps, %" PRIu64 " commands in %" PRIu64 " entries, %" PRIu64
                   " tasks, %" PRIu64 " answers; %.0f s of virtual time.\n"
                   "%" PRIu64 " faults: %" PRIu64 " crashes, %" PRIu64 " recoveries of %" PRIu64 " entries, %" PRIu64
                   " snapshots, %" PRIu64 " damaged copies. %" PRIu64 " checks.\n"
                   "%.2f s, %.2f s of one core: %.0f commands a minute, %.0f crashes with recovery a second of it.\n"
                   "Trace %016" PRIx64 ", state %s.\n",
                   seeds, sum->steps, sum->commands, sum->entries, sum->tasks, sum->answers,
                   (double)sum->virtual_ns / 1e9, sum->faults, sum->crashes, sum->recoveries, sum->recovered_entries,
                   sum->snapshots, sum->damages, sum->checks, times->wall_s, times->cpu_s, commands_per_minute,
                   crashes_per_s, sum->trace_hash, hash);
    }
    enum status status = cli_print(buf_slice(&out));
    buf_free(&out);
    return status;
}

static enum status list_all(void)
{
    struct buf out;
    buf_init(&out, 1u << 20);
    buf_append_str(&out, "Faults:\n");
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
        buf_printf(&out, "  %-14s %s\n", sim_fault_name((enum sim_fault)i), sim_fault_sentence((enum sim_fault)i));
    }
    buf_append_str(&out, "Planted bugs (a build with -Dmutations=true), and the rule that finds each:\n");
    for (unsigned i = 1; i < MUTATION_COUNT; i++) {
        buf_printf(&out, "  %-20s %-9s %s\n", mutation_name((enum mutation)i), mutation_rule((enum mutation)i),
                   mutation_sentence((enum mutation)i));
    }
    enum status status = cli_print(buf_slice(&out));
    buf_free(&out);
    return status;
}

/* --- recorded histories --- */

struct telling {
    struct buf out;
    uint64_t count;
    bool is_json;
};

static void on_violated(void *ctx, uint64_t line, const char *rule, const char *why)
{
    struct telling *telling = ctx;
    if (telling->count++ >= TOLD_MAX) {
        return;
    }
    if (telling->is_json) {
        buf_printf(&telling->out, "%s{\"line\":%" PRIu64 ",\"rule\":\"%s\",\"why\":", telling->count > 1 ? "," : "",
                   line, rule);
        json_write_str(&telling->out, slice_str(why)); /* it may name nodes of the file */
        buf_append_char(&telling->out, '}');
    } else if (line > 0) {
        buf_printf(&telling->out, "line %" PRIu64 ": %s: %s\n", line, rule, why);
    } else {
        buf_printf(&telling->out, "at the end: %s: %s\n", rule, why);
    }
}

static void tell_history(struct telling *telling, const char *path, const struct history_file_report *report)
{
    struct buf *out = &telling->out;
    if (telling->is_json) {
        buf_printf(out,
                   "],\"ok\":%s,\"violated\":%" PRIu64 ",\"finished\":%s,\"records\":%" PRIu64 ",\"submits\":%" PRIu64
                   ",\"acked\":%" PRIu64 ",\"aliases\":%" PRIu64 ",\"given_up\":%" PRIu64 ",\"tasks\":%" PRIu64
                   ",\"leases\":%" PRIu64 ",\"completes\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"reads\":%" PRIu64
                   ",\"cancels\":%" PRIu64 ",\"rows\":%" PRIu64 "}\n",
                   report->violations == 0 ? "true" : "false", report->violations, report->has_end ? "true" : "false",
                   report->records, report->submits, report->acked, report->aliases, report->given_up, report->tasks,
                   report->leases, report->completes, report->refused, report->reads, report->cancels, report->rows);
        return;
    }
    if (telling->count > TOLD_MAX) {
        buf_printf(out, "… and %" PRIu64 " more\n", telling->count - TOLD_MAX);
    }
    buf_printf(out,
               "%s: %" PRIu64 " records of %" PRIu64 " acknowledged ops and %" PRIu64 " tasks; %" PRIu64
               " submits, %" PRIu64 " leases, %" PRIu64 " completes taken, %" PRIu64 " outcomes refused, %" PRIu64
               " reads, %" PRIu64 " cancels, %" PRIu64 " rows.\n",
               path, report->records, report->acked, report->tasks, report->submits, report->leases, report->completes,
               report->refused, report->reads, report->cancels, report->rows);
    if (!report->has_end) {
        buf_append_str(out, "It has no record \"end\": whether everything has ended was not looked at.\n");
    }
    if (report->violations > 0) {
        buf_printf(out, "It cannot have happened so: %" PRIu64 " violations.\n", report->violations);
    } else {
        buf_append_str(out, "It holds.\n");
    }
}

static enum status check_history(struct cli *cli, const char *path, bool is_json)
{
    struct buf text;
    buf_init(&text, HISTORY_SIZE_MAX);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return cli_fail(cli, STATUS_NOT_FOUND, "the history %s cannot be opened", path);
    }
    char piece[16384];
    for (size_t len; (len = fread(piece, 1, sizeof(piece), file)) > 0;) {
        buf_append(&text, piece, len);
    }
    bool is_whole = ferror(file) == 0 && buf_status(&text) == STATUS_OK;
    (void)fclose(file);
    struct telling telling = {.is_json = is_json};
    struct history_file_report report;
    buf_init(&telling.out, 4u << 20);
    if (is_json) {
        buf_append_str(&telling.out, "{\"violations\":[");
    }
    enum status status =
        is_whole ? history_file_check(buf_slice(&text), &(struct history_file_hooks){on_violated, &telling}, &report)
                 : STATUS_IO;
    if (status == STATUS_INVALID) {
        status = cli_fail(cli, STATUS_USAGE, "the history %s, line %" PRIu64 ": %s", path, report.bad_line, report.why);
    } else if (status != STATUS_OK) {
        status = cli_fail(cli, status, "the history %s cannot be read, or has more than 2 GiB", path);
    } else {
        tell_history(&telling, path, &report);
        status = cli_print(buf_slice(&telling.out));
        if (status == STATUS_OK && report.violations > 0) {
            status = STATUS_FAILED;
        }
    }
    buf_free(&telling.out);
    buf_free(&text);
    return status;
}

enum status cli_sim(struct cli *cli)
{
    struct workload workload;
    bool is_json = cli_flag(cli, "json");
    if (cli_flag(cli, "list")) {
        return list_all();
    }
    if (cli_text(cli, "check") != NULL) {
        return check_history(cli, cli_text(cli, "check"), is_json);
    }
    enum status status = read_workload(cli, cli_text(cli, "workload"), &workload);
    if (status != STATUS_OK) {
        return status;
    }
    struct sim_options options = {.seed = (uint64_t)cli_number(cli, "seed"),
                                  .steps = (uint64_t)cli_number(cli, "steps"),
                                  .fault_rate = (uint32_t)cli_number(cli, "fault-rate"),
                                  .workload = &workload};
    log_setup(LOG_ERROR, false); /* hub and nodes would tell of every fault */
    if (!read_faults(slice_str(cli_text(cli, "faults")), &options.faults)) {
        return cli_fail(cli, STATUS_USAGE, "there is no such fault in \"%s\"; shoal sim --list names them",
                        cli_text(cli, "faults"));
    }
    const char *mutation = cli_text(cli, "mutation");
    if (!mutation_set(slice_str(mutation))) {
        return cli_fail(cli, STATUS_USAGE, "this build has no planted bug \"%s\"", mutation);
    }
    struct sim_report sum = {0};
    uint64_t seeds = (uint64_t)cli_number(cli, "seeds");
    int64_t until_ns = clock_mono_ns() + cli_number(cli, "time") * NS_PER_MS;
    bool has_time = cli_number(cli, "time") > 0;
    int64_t start_ns = clock_mono_ns();
    int64_t start_cpu_ns = clock_cpu_ns();
    uint64_t done = 0;
    for (; has_time ? clock_mono_ns() < until_ns : done < seeds; done++, options.seed++) {
        struct sim_report report;
        sim_run(&options, &report);
        if (report.has_failed) {
            tell_failure(cli, &options, &report, is_json);
            return STATUS_FAILED;
        }
        add(&sum, &report);
    }
    struct times times = {.wall_s = (double)(clock_mono_ns() - start_ns) / 1e9,
                          .cpu_s = (double)(clock_cpu_ns() - start_cpu_ns) / 1e9};
    return tell(&sum, done, &times, is_json);
}
