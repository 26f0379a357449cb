/* bench_verify.c - shoal bench verify and shoal bench claims: what published reports claim, and what this machine shows of it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/claims.h"
#include "bench/live.h"
#include "bench/verify.h"
#include "cli/bench.h"

#define DIR_SIZE 1024
#define TEXT_MAX (64u << 20)

struct view { /* of a verification under way */
    const struct cli *cli;
    char dir[DIR_SIZE]; /* "" : nothing is written */
    struct live live;
    bool is_quiet, is_live;
    uint32_t without_result, gates_missed;
};

static enum status make_dir(const struct cli *cli, const char *path)
{
    if (mkdir(path, 0755) == 0 || errno == EEXIST) {
        return STATUS_OK;
    }
    return cli_fail(cli, errno == ENOSPC ? STATUS_NO_SPACE : STATUS_IO, "cannot make the folder %s: %s", path,
                    strerror(errno));
}

/* --out, or bench-runs/<time>-verify. */
static enum status choose_dir(const struct cli *cli, char ret_dir[DIR_SIZE])
{
    const char *out = cli_text(cli, "out");
    ret_dir[0] = '\0';
    if (cli_flag(cli, "no-report")) {
        return STATUS_OK;
    }
    if (out != NULL && strlen(out) > DIR_SIZE - 128) {
        return cli_fail(cli, STATUS_USAGE, "the path of --out is too long");
    }
    if (out != NULL) {
        snprintf(ret_dir, DIR_SIZE, "%s", out);
    } else {
        time_t now = time(NULL);
        struct tm parts;
        enum status status = make_dir(cli, BENCH_RUNS_DIR);
        if (status != STATUS_OK) {
            return status;
        }
        gmtime_r(&now, &parts);
        size_t len = (size_t)snprintf(ret_dir, DIR_SIZE, "%s/", BENCH_RUNS_DIR);
        strftime(ret_dir + len, DIR_SIZE - len, "%Y%m%dT%H%M%SZ-verify", &parts);
    }
    char runs[DIR_SIZE];
    enum status status = make_dir(cli, ret_dir);
    snprintf(runs, sizeof(runs), "%.*s/runs", DIR_SIZE - 16, ret_dir);
    return status == STATUS_OK ? make_dir(cli, runs) : status;
}

static void on_begin(void *ctx, const struct verify_step *step)
{
    struct view *view = ctx;
    if (view->is_quiet) {
        return;
    }
    cli_say("%3" PRIu32 " of %" PRIu32 "  %-14s %s%s\n", step->index + 1, step->count, step->run->name,
            step->is_again ? "again, since the first run was invalid: " : "",
            step->scenario != NULL ? step->scenario->title : "");
    if (view->is_live) {
        live_begin(&view->live, STDERR_FILENO, true, cli_columns());
    }
}

static void on_progress(void *ctx, const struct bench_progress *progress)
{
    struct view *view = ctx;
    live_progress(&view->live, progress);
}

static void on_end(void *ctx, const struct verify_step *step)
{
    struct view *view = ctx;
    char dir[DIR_SIZE], why[1400] = "";
    if (view->is_live) {
        live_end(&view->live);
    }
    if (step->why != NULL) {
        view->without_result++;
        if (!view->is_quiet) {
            cli_say("           gives no result: %s\n", step->why);
        }
    } else if (step->result->verdict == BENCH_GATE_MISSED) {
        view->gates_missed++;
        for (uint32_t i = 0; i < step->result->gate_count && !view->is_quiet; i++) {
            if (!step->result->gates[i].is_met) {
                cli_say("           missed: %s\n", step->result->gates[i].text);
            }
        }
    }
    if (view->dir[0] == '\0' || step->result == NULL) {
        return;
    }
    snprintf(dir, sizeof(dir), "%.*s/runs/%s", DIR_SIZE - 64, view->dir, step->run->name);
    struct report_context context = {.scenario = step->scenario, .time_scale = 1};
    enum status status = make_dir(view->cli, dir);
    if (status == STATUS_OK) {
        status = report_write(dir, &context, step->result, why, sizeof(why));
    }
    if (status != STATUS_OK && why[0] != '\0') {
        cli_say("           its report could not be written: %s\n", why);
    }
}

static enum status write_file(const struct cli *cli, const char *dir, const char *name, const struct buf *content)
{
    char path[DIR_SIZE + 32];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    bool is_written = file != NULL && buf_status(content) == STATUS_OK &&
                      fwrite(content->data, 1, content->len, file) == content->len;
    is_written = file != NULL && fclose(file) == 0 && is_written;
    return is_written ? STATUS_OK : cli_fail(cli, STATUS_IO, "%s could not be written: %s", path, strerror(errno));
}

static enum status write_files(const struct cli *cli, const char *dir, const struct claims *claims)
{
    struct buf out;
    buf_init(&out, TEXT_MAX);
    claims_write_table(claims, &out);
    enum status status = write_file(cli, dir, "claims.tsv", &out);
    buf_reset(&out);
    claims_write_json(claims, &out);
    if (status == STATUS_OK) {
        status = write_file(cli, dir, "claims.json", &out);
    }
    buf_reset(&out);
    claims_write_summary(claims, &out);
    if (status == STATUS_OK) {
        status = write_file(cli, dir, "summary.txt", &out);
    }
    for (unsigned source = 0; source < claims_sources(claims) && status == STATUS_OK; source++) {
        char name[32];
        snprintf(name, sizeof(name), "report-%u.md", source);
        buf_reset(&out);
        claims_write_report(claims, source, &out);
        status = write_file(cli, dir, name, &out);
    }
    buf_free(&out);
    return status;
}

static enum status print_claims(const struct cli *cli, const struct claims *claims, const char *dir)
{
    struct buf out;
    buf_init(&out, TEXT_MAX);
    if (cli_flag(cli, "json")) {
        claims_write_json(claims, &out);
    } else {
        claims_write_summary(claims, &out);
        if (dir[0] != '\0') {
            buf_printf(&out, "\nEach claim is in %s/claims.tsv, each source's report in %s/report-N.md.\n", dir, dir);
        }
    }
    enum status status = cli_print(buf_slice(&out));
    buf_free(&out);
    return status;
}

enum status bench_verb_verify(struct cli *cli)
{
    struct bench_place place;
    struct verification verification;
    struct view view = {.cli = cli, .is_quiet = cli_flag(cli, "json")};
    char why[400] = "";
    enum status status = choose_dir(cli, view.dir);
    if (status == STATUS_OK) {
        status = bench_place_make(cli, &place);
    }
    if (status != STATUS_OK) {
        return status;
    }
    view.is_live = !view.is_quiet && cli_is_terminal(STDERR_FILENO) && !cli_flag(cli, "no-live");
    struct verify_options options = {
        .is_quick = cli_flag(cli, "quick"),
        .only = cli_text(cli, "only"),
        .run = {.program = place.program,
                .scratch = place.scratch,
                .time_scale = cli_text(cli, "time-scale") != NULL ? bench_time_scale(cli) : 1,
                .on_progress = view.is_live ? on_progress : NULL,
                .ctx = &view},
        .on_begin = on_begin,
        .on_end = on_end,
        .ctx = &view,
    };
    enum status verified = verify(&options, &verification, why, sizeof(why));
    bench_place_remove(&place);
    if (verified != STATUS_OK && verified != STATUS_INTERRUPTED) {
        return cli_fail(cli, verified == STATUS_INVALID ? STATUS_USAGE : verified, "%s", why);
    }
    if (view.dir[0] != '\0') {
        status = write_files(cli, view.dir, &verification.claims);
    }
    if (status == STATUS_OK) {
        status = print_claims(cli, &verification.claims, view.dir);
    }
    verification_free(&verification);
    if (status != STATUS_OK || verified == STATUS_INTERRUPTED) {
        return status != STATUS_OK ? status : verified;
    }
    return view.gates_missed > 0 ? STATUS_GATE_MISSED : view.without_result > 0 ? STATUS_INVALID_RUN : STATUS_OK;
}

/* Without running anything: what is claimed, and what would measure it. */
enum status bench_verb_claims(struct cli *cli)
{
    struct slice table, map;
    struct claims claims;
    struct buf out;
    char why[400] = "";
    const char *only = cli_text(cli, "only");
    claims_default(&table, &map);
    enum status status = claims_read(table, map, &claims, why, sizeof(why));
    if (status != STATUS_OK) {
        return cli_fail(cli, status, "%s", why);
    }
    if (only != NULL && !claims_choose(&claims, only)) {
        claims_free(&claims);
        return cli_fail(cli, STATUS_USAGE, "no claim has an id like \"%s\"; without --only all are listed", only);
    }
    buf_init(&out, TEXT_MAX);
    claims_write_plan(&claims, cli_flag(cli, "json"), &out);
    status = cli_print(buf_slice(&out));
    buf_free(&out);
    claims_free(&claims);
    return status;
}
