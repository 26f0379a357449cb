/* bench.c - shoal bench: runs scenarios and says what they showed.
 *
 * One command with verbs. The words behind the verb are its own; the options are one table for all of them, and a verb
 * that does not know what it was given says so. */
#include "cli/bench.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "bench/live.h"

#define QUICK 0.1            /* of every duration */
#define TIME_SCALE_MIN 0.001 /* of the shortest phase, 1 ms, leaves more than nothing: 0 would be a phase without end */
#define TIME_SCALE_MAX 1000.0 /* of the longest one, 720 h, is in the range of nanoseconds */

/* --- what verbs share --- */

enum status bench_place_make(const struct cli *cli, struct bench_place *ret_place)
{
    const char *parent = getenv("TMPDIR");
    parent = parent != NULL && *parent == '/' && strlen(parent) < 90 ? parent : "/tmp";
    snprintf(ret_place->scratch, sizeof(ret_place->scratch), "%s/shoal-bench.XXXXXX", parent);
    ssize_t len = readlink("/proc/self/exe", ret_place->program, sizeof(ret_place->program) - 1);
    if (len <= 0) {
        return cli_fail(cli, STATUS_IO, "cannot tell where this program is: %s", strerror(errno));
    }
    ret_place->program[len] = '\0';
    if (mkdtemp(ret_place->scratch) == NULL) {
        return cli_fail(cli, errno == ENOSPC ? STATUS_NO_SPACE : STATUS_IO, "cannot make a scratch folder in %s: %s",
                        parent, strerror(errno));
    }
    return STATUS_OK;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    (void)remove(path);
    return 0; /* whatever happened to this one, the rest is to be removed */
}

void bench_place_remove(const struct bench_place *place)
{
    (void)nftw(place->scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void bench_defines(const struct cli *cli, const char *option, const char *ret_defines[BENCH_DEFINES_MAX])
{
    int at = 0, count = 0;
    const char *define;
    while (count + 1 < BENCH_DEFINES_MAX && (define = cli_list_next(cli, option, &at)) != NULL) {
        ret_defines[count++] = define;
    }
    ret_defines[count] = NULL;
}

static enum status scenario_result(const struct cli *cli, const char *name, enum status status, const char *why,
                                   struct scenario *scenario, struct scenario **ret_scenario)
{
    if (status == STATUS_OK) {
        *ret_scenario = scenario;
        return STATUS_OK;
    }
    free(scenario);
    /* A missing file is a mistake of the command line here: exit code 3 says that a gate was missed. */
    bool has_place = strncmp(why, "line ", 5) == 0;
    return cli_fail(cli, status == STATUS_NO_MEMORY ? status : STATUS_USAGE, "%s%s%s", has_place ? name : "",
                    has_place ? ", " : "", why);
}

enum status bench_scenario_load(const struct cli *cli, const char *path, const char *const *defines,
                                struct scenario **ret_scenario)
{
    char why[400] = "";
    struct scenario *scenario = calloc(1, sizeof(*scenario));
    if (scenario == NULL) {
        return cli_fail(cli, STATUS_NO_MEMORY, "there is no memory left");
    }
    enum status status = scenario_load(path, defines, scenario, why, sizeof(why));
    return scenario_result(cli, path, status, why, scenario, ret_scenario);
}

enum status bench_scenario_parse(const struct cli *cli, const char *name, struct slice text, const char *const *defines,
                                 struct scenario **ret_scenario)
{
    char why[400] = "";
    struct scenario *scenario = calloc(1, sizeof(*scenario));
    if (scenario == NULL) {
        return cli_fail(cli, STATUS_NO_MEMORY, "there is no memory left");
    }
    enum status status = scenario_parse(text, ".", defines, scenario, why, sizeof(why));
    if (status == STATUS_OK && scenario->name[0] == '\0') {
        snprintf(scenario->name, sizeof(scenario->name), "%s", name);
    }
    return scenario_result(cli, name, status, why, scenario, ret_scenario);
}

void bench_scenario_free(struct scenario *scenario)
{
    if (scenario != NULL) {
        scenario_free(scenario);
    }
    free(scenario);
}

double bench_time_scale(const struct cli *cli)
{
    const char *text = cli_text(cli, "time-scale");
    double scale = text != NULL ? strtod(text, NULL) : 0;
    if (scale > 0) {
        return scale;
    }
    return cli_flag(cli, "quick") ? QUICK : 1;
}

enum status bench_run_shown(const struct cli *cli, const struct scenario *scenario, struct bench_result *ret_result)
{
    struct bench_place place;
    struct live live;
    char why[900] = "";
    bench_result_init(ret_result);
    enum status status = bench_place_make(cli, &place);
    if (status != STATUS_OK) {
        return status;
    }
    bool is_live = cli_is_terminal(STDERR_FILENO) && !cli_flag(cli, "no-live") && !cli_flag(cli, "json");
    bool is_told = !cli_flag(cli, "json") && !cli_flag(cli, "no-live");
    struct bench_options options = {.program = place.program,
                                    .scratch = place.scratch,
                                    .time_scale = bench_time_scale(cli),
                                    .on_progress = is_told ? live_progress : NULL,
                                    .ctx = &live};
    if (is_told) {
        live_begin(&live, STDERR_FILENO, is_live, cli_columns());
    }
    status = bench_run(scenario, &options, ret_result, why, sizeof(why));
    if (is_told) {
        live_end(&live);
    }
    bench_place_remove(&place);
    if (status == STATUS_OK || status == STATUS_INTERRUPTED) {
        return status;
    }
    /* Exit codes 3 and 4 are about runs that were made. */
    if (status_exit(status) == status_exit(STATUS_GATE_MISSED) ||
        status_exit(status) == status_exit(STATUS_INVALID_RUN)) {
        status = STATUS_FAILED;
    }
    return cli_fail(cli, status, "%s", why[0] != '\0' ? why : status_title(status));
}

enum status bench_status_of(const struct bench_result *result)
{
    switch (result->verdict) {
    case BENCH_PASS:
        return STATUS_OK;
    case BENCH_GATE_MISSED:
        return STATUS_GATE_MISSED;
    case BENCH_INVALID:
        return STATUS_INVALID_RUN;
    case BENCH_INTERRUPTED:
        return STATUS_INTERRUPTED;
    }
    return STATUS_INTERNAL;
}

/* --- run --- */

/* Makes the folder of --out before the run: after hours of it, it is too late to learn that nothing can be written there. */
static enum status check_out(const struct cli *cli)
{
    const char *out = cli_text(cli, "out");
    if (cli_flag(cli, "no-report") || out == NULL) {
        return STATUS_OK;
    }
    if (mkdir(out, 0755) != 0 && errno != EEXIST) {
        return cli_fail(cli, errno == ENOSPC ? STATUS_NO_SPACE : STATUS_IO, "cannot make the folder \"%s\": %s", out,
                        strerror(errno));
    }
    struct stat info;
    if (stat(out, &info) == 0 && !S_ISDIR(info.st_mode)) {
        return cli_fail(cli, STATUS_USAGE, "\"%s\", which --out names, is no folder", out);
    }
    if (access(out, W_OK | X_OK) != 0) {
        return cli_fail(cli, STATUS_IO, "cannot write into the folder \"%s\": %s", out, strerror(errno));
    }
    return STATUS_OK;
}

/* Where the report went, into ret_dir; "" when none was wanted. */
static enum status write_report(const struct cli *cli, const struct report_context *context,
                                const struct bench_result *result, char *ret_dir, size_t dir_size)
{
    char why[1400] = "";
    const char *out = cli_text(cli, "out");
    enum status status = STATUS_OK;
    ret_dir[0] = '\0';
    bool is_one_line = strcmp(cli->args[0], "http") == 0; /* whose report is written only when it is asked for */
    if (cli_flag(cli, "no-report") || (is_one_line && out == NULL)) {
        return STATUS_OK;
    }
    if (out == NULL) {
        status = report_make_dir(BENCH_RUNS_DIR, result, ret_dir, dir_size, why, sizeof(why));
    } else {
        snprintf(ret_dir, dir_size, "%s", out);
    }
    if (status == STATUS_OK) {
        status = report_write(ret_dir, context, result, why, sizeof(why));
    }
    return status == STATUS_OK ? status : cli_fail(cli, status, "%s", why);
}

static enum status show(const struct cli *cli, const struct report_context *context, const struct bench_result *result,
                        const char *dir)
{
    struct buf out;
    buf_init(&out, 64u << 20);
    if (cli_flag(cli, "json")) {
        report_json(context, result, &out);
    } else {
        report_terminal(result, cli_has_color(STDOUT_FILENO), &out);
    }
    if (dir[0] != '\0' && !cli_flag(cli, "json")) {
        buf_printf(&out, "The report is in %s.\n", dir);
    }
    enum status status = cli_print(buf_slice(&out));
    buf_free(&out);
    return status;
}

static enum status run_and_report(struct cli *cli, struct scenario *scenario, const char *const *defines)
{
    struct bench_result result;
    char dir[1024];
    enum status status = check_out(cli);
    if (status != STATUS_OK) {
        return status;
    }
    status = bench_run_shown(cli, scenario, &result);
    if (status == STATUS_OK || status == STATUS_INTERRUPTED) {
        struct report_context context = {.scenario = scenario, .defines = defines, .time_scale = bench_time_scale(cli)};
        if (status == STATUS_INTERRUPTED) {
            result.verdict = BENCH_INTERRUPTED;
        }
        status = write_report(cli, &context, &result, dir, sizeof(dir));
        if (status == STATUS_OK) {
            status = show(cli, &context, &result, dir);
        }
        if (status == STATUS_OK) {
            status = bench_status_of(&result);
        }
    }
    bench_result_free(&result);
    return status;
}

static enum status verb_run(struct cli *cli)
{
    const char *defines[BENCH_DEFINES_MAX];
    struct scenario *scenario = NULL;
    bench_defines(cli, "set", defines);
    enum status status = bench_scenario_load(cli, cli->args[1], defines, &scenario);
    if (status == STATUS_OK) {
        status = run_and_report(cli, scenario, defines);
    }
    bench_scenario_free(scenario);
    return status;
}

/* --- http: a scenario from the command line --- */

/* The parts of "http://host:port/path?query"; nothing that the language would read otherwise. */
static bool split_url(const char *url, struct slice *ret_base, struct slice *ret_path)
{
    static const char scheme[] = "http://";
    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0 || strpbrk(url, "\"'$# \t\\") != NULL) {
        return false;
    }
    size_t host = strcspn(url + sizeof(scheme) - 1, "/?");
    *ret_base = slice_of(url, sizeof(scheme) - 1 + host);
    *ret_path = slice_str(url + ret_base->len);
    return host > 0 && (ret_path->len == 0 || ret_path->data[0] == '/');
}

static bool is_word(const char *text)
{
    return strpbrk(text, "\"\n\r") == NULL;
}

/* "@FILE" is a file's content, as --input has it; anything else the body itself. */
static enum status http_body(const struct cli *cli, const char *body, struct buf *out)
{
    char path[PATH_MAX];
    if (body == NULL) {
        return STATUS_OK;
    }
    if (body[0] == '@' && realpath(body + 1, path) == NULL) {
        return cli_fail(cli, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "--body: cannot read %s: %s", body + 1,
                        strerror(errno));
    }
    const char *text = body[0] == '@' ? path : body;
    if (strpbrk(text, "'\n\r") != NULL) {
        return cli_fail(cli, STATUS_USAGE,
                        "%s cannot have single quotes or line breaks here; --body @FILE takes any body",
                        body[0] == '@' ? "the name of a file" : "a body");
    }
    buf_printf(out, body[0] == '@' ? " body-file '%s'" : " body '%s'", text);
    return STATUS_OK;
}

static enum status http_text(const struct cli *cli, struct buf *out)
{
    struct slice base, path;
    const char *body = cli_text(cli, "body"), *header, *rate = cli_text(cli, "rate");
    int at = 0;
    if (!split_url(cli->args[1], &base, &path)) {
        return cli_fail(cli, STATUS_USAGE, "\"%s\" is no URL of the form http://HOST:PORT/PATH", cli->args[1]);
    }
    buf_printf(out, "title \"%.*s%.*s\"\ntarget %.*s", SLICE_ARG(base), SLICE_ARG(path), SLICE_ARG(base));
    if (rate != NULL) {
        buf_printf(out, " connections %" PRId64, cli_number(cli, "connections"));
    }
    buf_printf(out, " timeout %" PRId64 "ms\nflow main\n  %s %s%.*s", cli_number(cli, "timeout"),
               body != NULL ? "post" : "get", path.len > 0 ? "" : "/", SLICE_ARG(path));
    while ((header = cli_list_next(cli, "header", &at)) != NULL) {
        if (!is_word(header)) {
            return cli_fail(cli, STATUS_USAGE, "a header cannot have quotes or line breaks here; write a scenario");
        }
        buf_printf(out, " header \"%s\"", header);
    }
    enum status status = http_body(cli, body, out);
    if (status != STATUS_OK) {
        return status;
    }
    buf_append_str(out, "\nphase load ");
    if (rate != NULL) {
        buf_printf(out, "constant %s%s", rate, strchr(rate, '/') != NULL ? "" : "/s");
    } else {
        buf_printf(out, "users %" PRId64, cli_number(cli, cli_is_given(cli, "users") ? "users" : "connections"));
    }
    buf_printf(out, " for %" PRId64 "ms\n", cli_number(cli, "for"));
    return STATUS_OK;
}

static enum status verb_http(struct cli *cli)
{
    struct buf text;
    struct scenario *scenario = NULL;
    static const char *const none[] = {NULL};
    buf_init(&text, 256u << 10);
    enum status status = http_text(cli, &text);
    if (status == STATUS_OK) {
        status = bench_scenario_parse(cli, "http", buf_slice(&text), none, &scenario);
    }
    if (status == STATUS_OK) {
        status = run_and_report(cli, scenario, none);
    }
    bench_scenario_free(scenario);
    buf_free(&text);
    return status;
}

/* --- check, list, show, metrics --- */

static int64_t planned_ns(const struct scenario *scenario)
{
    int64_t ends[SCENARIO_PHASES_MAX], last = 0;
    for (uint32_t i = 0; i < scenario->phase_count; i++) { /* a phase begins after earlier ones only */
        int64_t begin = 0;
        for (uint32_t k = 0; k < i; k++) {
            if ((scenario->phases[i].after >> k & 1) != 0 && ends[k] > begin) {
                begin = ends[k];
            }
        }
        ends[i] = begin + scenario->phases[i].after_delay_ns + scenario->phases[i].duration_ns;
        last = ends[i] > last ? ends[i] : last;
    }
    return last;
}

static enum status verb_check(struct cli *cli)
{
    const char *defines[BENCH_DEFINES_MAX];
    struct buf out;
    enum status status = STATUS_OK;
    bench_defines(cli, "set", defines);
    buf_init(&out, 1u << 20);
    for (int i = 1; i < cli->arg_count && status == STATUS_OK; i++) {
        struct scenario *scenario = NULL;
        status = bench_scenario_load(cli, cli->args[i], defines, &scenario);
        if (status != STATUS_OK || scenario == NULL) {
            break;
        }
        if (cli_flag(cli, "json")) {
            buf_append_str(&out, "{\"file\":");
            json_write_str(&out, slice_str(cli->args[i]));
            buf_append_str(&out, ",\"title\":");
            json_write_str(&out, slice_str(scenario->title));
            buf_printf(&out,
                       ",\"phases\":%" PRIu32 ",\"gates\":%" PRIu32 ",\"faults\":%" PRIu32 ",\"planned_ns\":%" PRId64
                       "}\n",
                       scenario->phase_count, scenario->gate_count, scenario->fault_count, planned_ns(scenario));
        } else {
            char duration[32];
            cli_duration_text(planned_ns(scenario) / NS_PER_MS, duration, sizeof(duration));
            buf_printf(&out, "%s is sound: %" PRIu32 " phase%s, %s; %" PRIu32 " gate%s.\n", cli->args[i],
                       scenario->phase_count, scenario->phase_count == 1 ? "" : "s", duration, scenario->gate_count,
                       scenario->gate_count == 1 ? "" : "s");
        }
        bench_scenario_free(scenario);
    }
    if (status == STATUS_OK) {
        status = cli_print(buf_slice(&out));
    }
    buf_free(&out);
    return status;
}

static enum status verb_show(struct cli *cli)
{
    struct bench_result result;
    char why[1400] = "";
    enum status status = report_read(cli->args[1], &result, why, sizeof(why));
    if (status == STATUS_OK) {
        static const struct report_context none;
        status = show(cli, &none, &result, "");
    } else {
        status = cli_fail(cli, status == STATUS_NOT_FOUND ? STATUS_USAGE : status, "%s", why);
    }
    bench_result_free(&result);
    return status;
}

static int is_scenario(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 9 && strcmp(entry->d_name + len - 9, ".scenario") == 0;
}

/* Names and titles of a folder's scenarios; one with a mistake says so in its line. */
static enum status verb_list(struct cli *cli)
{
    const char *dir = cli->arg_count > 1 ? cli->args[1] : ".";
    struct dirent **entries;
    struct buf out;
    int count = scandir(dir, &entries, is_scenario, alphasort);
    if (count < 0) {
        return cli_fail(cli, STATUS_USAGE, "cannot look into %s: %s", dir, strerror(errno));
    }
    buf_init(&out, 1u << 20);
    for (int i = 0; i < count; i++) {
        char path[1200], why[400] = "";
        struct scenario *scenario = calloc(1, sizeof(*scenario));
        static const char *const none[] = {NULL};
        snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
        bool is_read = scenario != NULL && scenario_load(path, none, scenario, why, sizeof(why)) == STATUS_OK;
        if (cli_flag(cli, "json")) {
            buf_append_str(&out, "{\"file\":");
            json_write_str(&out, slice_str(path));
            buf_printf(&out, ",\"%s\":", is_read ? "title" : "mistake");
            json_write_str(&out, slice_str(is_read ? scenario->title : why));
            buf_append_str(&out, "}\n");
        } else {
            buf_printf(&out, "%-28s %s\n", entries[i]->d_name, is_read ? scenario->title : why);
        }
        if (is_read) {
            scenario_free(scenario);
        }
        free(scenario);
        free(entries[i]);
    }
    free(entries);
    enum status status = cli_print(buf_slice(&out));
    buf_free(&out);
    return status;
}

static enum status verb_metrics(struct cli *cli)
{
    struct buf out;
    (void)cli;
    buf_init(&out, 1u << 20);
    bench_metrics_list(&out, false);
    enum status status = cli_print(buf_slice(&out));
    buf_free(&out);
    return status;
}

/* --- verbs --- */

static const struct verb {
    const char *name, *arguments;
    int args_min, args_max; /* behind the verb */
    enum status (*run)(struct cli *cli);
} verbs[] = {
    {"run", "FILE", 1, 1, verb_run},
    {"http", "URL", 1, 1, verb_http},
    {"check", "FILE...", 1, 1000, verb_check},
    {"list", "[FOLDER]", 0, 1, verb_list},
    {"show", "RUN", 1, 1, verb_show},
    {"metrics", "", 0, 0, verb_metrics},
    {"compare", "A B", 2, 2, bench_verb_compare},
    {"history", "[FOLDER]", 0, 1, bench_verb_history},
    {"capacity", "FILE", 1, 1, bench_verb_capacity},
    {"verify", "", 0, 0, bench_verb_verify},
    {"claims", "", 0, 0, bench_verb_claims},
};

enum status cli_bench(struct cli *cli)
{
    const char *names[sizeof(verbs) / sizeof(verbs[0]) + 1] = {NULL};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        const struct verb *verb = &verbs[i];
        names[i] = verb->name;
        if (strcmp(cli->args[0], verb->name) != 0) {
            continue;
        }
        if (cli->arg_count - 1 < verb->args_min || cli->arg_count - 1 > verb->args_max) {
            return cli_fail(cli, STATUS_USAGE, "it is \"shoal bench %s%s%s\"", verb->name,
                            verb->arguments[0] != '\0' ? " " : "", verb->arguments);
        }
        const char *scale = cli_text(cli, "time-scale");
        char *scale_end = NULL;
        double factor = scale != NULL ? strtod(scale, &scale_end) : 1;
        if (!(factor >= TIME_SCALE_MIN && factor <= TIME_SCALE_MAX) || (scale != NULL && *scale_end != '\0')) {
            return cli_fail(cli, STATUS_USAGE, "--time-scale takes a number from %g to %g, such as 0.5, not \"%s\"",
                            TIME_SCALE_MIN, TIME_SCALE_MAX, scale);
        }
        return verb->run(cli);
    }
    const char *nearest = cli_nearest(cli->args[0], names);
    if (nearest != NULL) {
        return cli_fail(cli, STATUS_USAGE, "there is no \"%s\"; did you mean \"%s\"?", cli->args[0], nearest);
    }
    return cli_fail(cli, STATUS_USAGE, "there is no \"%s\"; \"shoal help bench\" lists what there is", cli->args[0]);
}
