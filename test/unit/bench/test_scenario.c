#include "bench/scenario.h"

#include <dirent.h>
#include <unistd.h>

#include "../base/check.h"
#include "base/ensure.h"

static char why[512];
static struct scenario *scenario;

static int setup(void **state)
{
    (void)state;
    scenario = calloc(1, sizeof(*scenario));
    return scenario == NULL;
}

static int teardown(void **state)
{
    (void)state;
    free(scenario);
    return 0;
}

static void test_examples(void **state)
{
    (void)state;
    const char *folder = getenv("SHOAL_SCENARIOS");
    assert_non_null(folder);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    struct dirent *entry;
    int count = 0;
    while ((entry = readdir(dir)) != NULL) {
        char path[4096];
        size_t len = strlen(entry->d_name);
        if (len < 9 || strcmp(entry->d_name + len - 9, ".scenario") != 0) {
            continue;
        }
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (scenario_load(path, NULL, scenario, why, sizeof(why)) != STATUS_OK) {
            fail_msg("%s: %s", entry->d_name, why);
        }
        assert_int_equal(strlen(scenario->name), len - 9);
        assert_memory_equal(scenario->name, entry->d_name, len - 9);
        scenario_free(scenario);
        count++;
    }
    closedir(dir);
    assert_true(count >= 6);
}

/* --- what is read --- */

static void parse(const char *text)
{
    if (scenario_parse(slice_str(text), NULL, NULL, scenario, why, sizeof(why)) != STATUS_OK) {
        fail_msg("%s\n%s", why, text);
    }
}

static void assert_text(const struct scenario_text *text, const char *wanted)
{
    char got[1024] = "";
    size_t len = 0;
    for (uint32_t i = 0; i < text->count; i++) {
        if (text->parts[i].variable >= 0) {
            len += (size_t)snprintf(got + len, sizeof(got) - len, "<%s>", scenario->variables[text->parts[i].variable]);
        } else {
            len += (size_t)snprintf(got + len, sizeof(got) - len, "%.*s", SLICE_ARG(text->parts[i].literal));
        }
    }
    assert_string_equal(got, wanted);
}

#define HUB "start hub\n"
#define FLOW "flow f\n get /\n"

static void test_small_statements(void **state)
{
    (void)state;
    parse("title \"A title\" # with a comment\nseed 42\nsample every 5s\n"
          "target http://127.0.0.1:8080 connections 20 timeout 2s\n" FLOW "phase p constant 10/s for 1s");
    assert_string_equal(scenario->title, "A title");
    assert_string_equal(scenario->target, "http://127.0.0.1:8080");
    assert_true(scenario->seed == 42 && scenario->sample_ns == 5000000000 && scenario->connections == 20);
    assert_true(scenario->timeout_ns == 2000000000 && !scenario->has_workload);
    assert_int_equal(scenario->flows[0].steps[0].timeout_ns, 2000000000);
    assert_string_equal(scenario->variables[SCENARIO_INDEX], "index");
    assert_string_equal(scenario->variables[SCENARIO_PORT], "port");
    scenario_free(scenario);
    assert_int_equal(scenario->phase_count, 0);
}

static void test_starts(void **state)
{
    (void)state;
    parse(
        "start hub main set log=debug set \"a=b c\" disk 64M memory 1G\nstart proxy net to main\n"
        "start node worker count 3 to net kinds shell,python slots 4 memory 512M\nstart node\n"
        "start exec web \"server --port ${port} --root '$$x'\"\nstart proxy front to web\ntarget web\n" FLOW
        "phase p idle for 1s\nfault kill worker2 at 100ms\nfault stop worker at 100ms\nfault freeze node at 1ms for 5ms");
    const struct scenario_start *hub = &scenario->starts[0], *worker = &scenario->starts[2];
    assert_true(hub->kind == START_HUB && hub->setting_count == 2 && hub->disk_bytes == 64u << 20);
    assert_string_equal(hub->settings[1], "a=b c");
    assert_string_equal(scenario->starts[1].to, "main");
    assert_true(worker->kind == START_NODE && worker->count == 3 && worker->slots == 4);
    assert_string_equal(worker->to, "net");
    assert_string_equal(worker->kinds, "shell,python");
    assert_string_equal(scenario->starts[3].name, "node");
    assert_string_equal(scenario->starts[3].to, "main"); /* the first hub */
    assert_int_equal(scenario->starts[3].count, 1);
    assert_text(&scenario->starts[4].command, "server --port <port> --root '$$x'");
    assert_string_equal(scenario->starts[5].to, "web");
    assert_string_equal(scenario->faults[0].target, "worker2");
    scenario_free(scenario);
}

static void test_steps(void **state)
{
    (void)state;
    parse(
        HUB
        "kind k\nflow f share 3\n"
        "  get /a/${index}?x=${user}&y=$$z header \"Accept: a/b\" header 'X: ${uuid}' expect 2xx match hello as look\n"
        "  post /v1/x body '{\"a\":\"${index}$\"}' expect 201 take id=/task/id take n=/a~1b/0 timeout 3s times 4\n"
        "  put /y/${id}/${n} body x\n  delete ${id} expect 200..404\n  patch /p\n"
        "  think 1..5ms\n  submit 100 as many\n  submit take t=/id\n  task\n"
        "  ws-open /v1/nodes/x protocol shoal.work.v1\n  ws-send \"hi ${t}\" expect welcome\n  ws-send bye\n  ws-close\n"
        "phase p users 3 for 1s\n");
    const struct scenario_flow *flow = &scenario->flows[0];
    assert_int_equal(flow->step_count, 13);
    assert_int_equal(flow->share, 3);
    const struct scenario_step *step = flow->steps;
    assert_text(&step[0].path, "/a/<index>?x=<user>&y=$z");
    assert_text(&step[0].headers, "Accept: a/b\r\nX: <uuid>\r\n");
    assert_string_equal(step[0].match, "hello");
    assert_string_equal(step[0].label, "look");
    assert_string_equal(step[0].method, "GET");
    assert_true(step[0].expect_low == 200 && step[0].expect_high == 299 && step[0].times == 1);
    assert_text(&step[1].body, "{\"a\":\"<index>$\"}");
    assert_string_equal(step[1].label, "post /v1/x");
    assert_true(step[1].expect_low == 201 && step[1].expect_high == 201 && step[1].take_count == 2);
    assert_string_equal(step[1].takes[1].pointer, "/a~1b/0");
    assert_true(step[1].timeout_ns == 3000000000 && step[1].times == 4);
    assert_text(&step[2].path, "/y/<id>/<n>");
    assert_text(&step[3].path, "<id>");
    assert_int_equal(step[3].expect_high, 404);
    assert_string_equal(step[4].method, "PATCH");
    assert_true(step[5].action == SCENARIO_THINK && step[5].think.min == 1000000 && step[5].think.max == 5000000);
    assert_true(step[6].action == SCENARIO_SUBMIT && step[6].batch == 100);
    assert_true(step[7].batch == 1 && step[7].take_count == 1);
    assert_string_equal(step[7].label, "submit");
    assert_true(step[8].action == SCENARIO_TASK);
    assert_string_equal(step[9].protocol, "shoal.work.v1");
    assert_true(step[10].expects_answer && !step[11].expects_answer);
    assert_string_equal(step[10].match, "welcome");
    assert_text(&step[10].body, "hi <t>");
    assert_true(step[12].action == SCENARIO_WS_CLOSE);
    scenario_free(scenario);
}

static void test_phases(void **state)
{
    (void)state;
    parse(HUB FLOW "flow g\n get /g\n"
                   "phase a constant 100/s for 2s discard\n"
                   "phase b ramp 0..1k/s for 10s flow g shed 500\n"
                   "phase c step 100/s..500/s steps 5 for 10s after a\n"
                   "phase d poisson 30/m for 1m after start delay 5s\n"
                   "phase e spike 10/s..100/s at 1s for 2s for 5s after c,d\n"
                   "phase f burst 50 every 100ms times 4 over 10ms\n"
                   "phase g users 20 for 3s think 1..2s\n"
                   "phase h users 20..5 for 3s pacing 1s\n"
                   "phase i users 7 ramp 1s iterations 1000\n"
                   "phase j users 0..9 ramp 1s for 5s\n"
                   "phase k idle for 2s\n");
    const struct scenario_phase *phase = scenario->phases;
    assert_int_equal(scenario->phase_count, 11);
    assert_true(phase[0].is_discarded && phase[0].after == 0 && phase[0].flows == 3);
    assert_true(phase[0].schedule.model == SCHEDULE_CONSTANT && schedule_count(&phase[0].schedule) == 200);
    assert_true(phase[1].schedule.model == SCHEDULE_RAMP && phase[1].schedule.rate_to == 1000);
    assert_true(phase[1].flows == 2 && phase[1].shed_above == 500 && phase[1].after == 1);
    assert_true(phase[2].schedule.steps == 5 && phase[2].after == 1);
    assert_true(phase[3].schedule.rate_from == 0.5 && phase[3].after == 0 && phase[3].after_delay_ns == 5000000000);
    assert_true(phase[3].schedule.seed != 0 && phase[3].schedule.seed != phase[4].schedule.seed);
    assert_true(phase[4].after == (4 | 8) && phase[4].schedule.spike_for_ns == 2000000000);
    assert_true(phase[4].duration_ns == 5000000000 && phase[4].schedule.duration_ns == 5000000000);
    assert_true(phase[5].duration_ns == 400000000 && schedule_count(&phase[5].schedule) == 200);
    assert_true(phase[6].model == SCENARIO_USERS && phase[6].users_from == 20 && phase[6].ramp_ns == 0);
    assert_true(phase[6].think.max == 2000000000);
    assert_true(phase[7].users_from == 20 && phase[7].users_to == 5 && phase[7].ramp_ns == 3000000000);
    assert_true(phase[7].pacing_ns == 1000000000);
    assert_true(phase[8].users_from == 0 && phase[8].users_to == 7 && phase[8].duration_ns == 0);
    assert_int_equal(phase[8].iterations_max, 1000);
    assert_true(phase[9].users_from == 0 && phase[9].ramp_ns == 1000000000);
    assert_true(phase[10].model == SCENARIO_IDLE && phase[10].flows == 0 && phase[10].after == 1u << 9);
    scenario_free(scenario);
}

static void test_faults(void **state)
{
    (void)state;
    parse(
        "start hub disk 64M\nstart proxy net\n" FLOW "phase p constant 1/s for 1m\n"
        "fault kill hub at 5s in p for 1s every 10s as crash\nfault delay net 10..20ms at 1s for 5s\n"
        "fault loss net at 1s 2.5%\nfault bandwidth net 100k/s at 2s\nfault fill-disk hub at 3s for 2s\n"
        "fault limit-memory hub 200M at 1s\nfault cut net at 0\nfault blackhole net at 1s for 1s\nfault restart hub at 1s\nfault fill-disk hub 8M at 3s as some\n");
    const struct scenario_fault *fault = scenario->faults;
    assert_int_equal(scenario->fault_count, 10);
    assert_int_equal(fault[9].bytes, 8 << 20);
    assert_int_equal(fault[4].bytes, 0);
    assert_true(fault[0].action == FAULT_KILL && fault[0].phase == 0 && fault[0].every_ns == 10000000000);
    assert_string_equal(fault[0].name, "crash");
    assert_string_equal(fault[1].name, "delay_net");
    assert_true(fault[1].phase == -1 && fault[1].delay.max == 20000000 && fault[1].for_ns == 5000000000);
    assert_int_equal(fault[2].loss_permille, 25);
    assert_int_equal(fault[3].bytes, 102400);
    assert_string_equal(fault[4].name, "fill_disk_hub");
    assert_int_equal(fault[5].bytes, 200u << 20);
    assert_int_equal(fault[6].at_ns, 0);
    scenario_free(scenario);
}

static void test_gates(void **state)
{
    (void)state;
    parse(HUB "flow f\n get /a as step.one\nphase up constant 1/s for 1m\nfault kill hub at 5s as crash\n"
              "gate p99.9:step.one <= 5ms\ngate p99@up < 1.5s from 10s to 1m\ngate success >= 99.99%\n"
              "gate rate@up ~ 2k/s\ngate memory_peak.hub <= 50M\ngate leak_low.hub <= -1.5k/h\n"
              "gate recover.crash < 2s\ngate ok > 100\ngate lost_tasks == 0\ngate cpu.generator < 80%\n");
    const struct scenario_gate *gate = scenario->gates;
    assert_int_equal(scenario->gate_count, 10);
    assert_string_equal(gate[0].metric, "p99.9:step.one");
    assert_string_equal(gate[0].text, "p99.9:step.one <= 5ms");
    assert_true(gate[0].value == 5e6 && strcmp(gate[0].op, "<=") == 0);
    assert_true(gate[1].value == 1.5e9 && gate[1].from_ns == 10000000000 && gate[1].to_ns == 60000000000);
    assert_true(gate[2].value == 99.99 && gate[3].value == 2000 && gate[4].value == 50 * 1048576.0);
    assert_true(gate[5].value == -1536 && gate[6].value == 2e9);
    scenario_free(scenario);
}

static void test_feeds_and_names(void **state)
{
    (void)state;
    static const char *const defines[] = {"rate=50", "who=web site", NULL};
    static const char text[] =
        "let rate 10\nlet path /x/$rate\ntarget http://a:1\nfeed n range 5..9 once\nfeed w words a 'b c' $$d random\n"
        "feed t text 10..1k\nflow f\n get $path/${n}/${w} header \"X: ${t} $who ${rate} $$rate\"\n"
        "phase p constant $rate/s for ${rate}s";
    assert_int_equal(scenario_parse(slice_str(text), NULL, defines, scenario, why, sizeof(why)), STATUS_OK);
    assert_int_equal(scenario->phases[0].schedule.rate_from, 50);
    assert_int_equal(scenario->phases[0].duration_ns, 50000000000);
    assert_text(&scenario->flows[0].steps[0].path, "/x/50/<n>/<w>");
    assert_text(&scenario->flows[0].steps[0].headers, "X: <t> web site 50 $rate\r\n");
    const struct scenario_feed *feed = scenario->feeds;
    assert_true(feed[0].kind == FEED_RANGE && feed[0].order == FEED_ONCE && feed[0].range.max == 9);
    assert_true(feed[1].kind == FEED_WORDS && feed[1].order == FEED_RANDOM && feed[1].rows == 3);
    assert_slice_equal(feed[1].cells[1], "b c");
    assert_slice_equal(feed[1].cells[2], "$d");
    assert_string_equal(scenario->variables[feed[1].first_variable], "w");
    assert_true(feed[2].kind == FEED_TEXT && feed[2].range.max == 1024);
    scenario_free(scenario);
}

/* --- files --- */

static char folder[64];

static void write_file(const char *name, const char *content)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static enum status parse_in_folder(const char *text)
{
    return scenario_parse(slice_str(text), folder, NULL, scenario, why, sizeof(why));
}

static void remove_folder(void)
{
    static const char *const names[] = {"a.csv",     "bad.csv",    "t.trace",   "bad.trace",
                                        "body.json", "x.scenario", "w.scenario"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void test_files(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/scenario-XXXXXX");
    assert_non_null(mkdtemp(folder));
    write_file("a.csv", "\xEF\xBB\xBFid,\"name\"\r\n1,\"a \"\"b\"\", c\"\n\n2,\n3,\"two\nlines\"");
    write_file("t.trace", "# moments\n0\n1.5\n1500ms\n 2s # two\n");
    write_file("body.json", "{\"n\":${index}}\n");
    assert_int_equal(parse_in_folder("target http://a\nfeed u csv a.csv random\nflow f\n"
                                     " post /${u.id}/${u.name} body-file body.json\nphase p trace t.trace\n"),
                     STATUS_OK);
    const struct scenario_feed *feed = &scenario->feeds[0];
    assert_true(feed->columns == 2 && feed->rows == 3 && feed->order == FEED_RANDOM);
    assert_slice_equal(feed->cells[0], "1");
    assert_slice_equal(feed->cells[1], "a \"b\", c");
    assert_int_equal(feed->cells[3].len, 0);
    assert_slice_equal(feed->cells[5], "two\nlines");
    assert_text(&scenario->flows[0].steps[0].path, "/<u.id>/<u.name>");
    assert_text(&scenario->flows[0].steps[0].body, "{\"n\":<index>}\n");
    const struct schedule *schedule = &scenario->phases[0].schedule;
    assert_true(schedule->trace_count == 4 && schedule->trace_ns[1] == 1500000000 &&
                schedule->trace_ns[3] == 2000000000);
    assert_int_equal(schedule_count(schedule), 4);
    scenario_free(scenario);

    static const struct {
        const char *csv, *why;
    } csvs[] = {
        {"a,b\n1,2,3\n", "line 2 of the CSV has 3 fields, and its first one 2"},
        {"a,b\n1\n", "line 2 of the CSV has 1 fields, and its first one 2"},
        {"a,b\n\"1,2\n", "line 2 of the CSV has quotes that are wrong"},
        {"a,b\n\"1\"x,2\n", "line 2 of the CSV has quotes that are wrong"},
        {"a,b\n", "the CSV has no row"},
        {"", "the first line of the CSV names its columns, and \"\" is no name"},
        {"a b,c\n1,2\n", "the first line of the CSV names its columns, and \"a b\" is no name"},
        {"a,a\n1,2\n", "there is a ${u.a} already"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(csvs); i++) {
        char wanted[200];
        write_file("bad.csv", csvs[i].csv);
        assert_int_equal(parse_in_folder("target http://a\nfeed u csv bad.csv\n"), STATUS_INVALID);
        snprintf(wanted, sizeof(wanted), "line 2, column 12: %s", csvs[i].why);
        assert_string_equal(why, wanted);
    }
    static const struct {
        const char *trace, *why;
    } traces[] = {
        {"", "the trace is empty"},
        {"1\nx\n", "line 2 of the trace is no moment such as 1.5s or 1.5"},
        {"1 2\n", "line 1 of the trace is no moment such as 1.5s or 1.5"},
        {"1\n0.5s\n", "line 2 of the trace lies before the one above it"},
        {"'1\n", "the trace: line 1, column 1: the ' that begins here has no end in this line"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(traces); i++) {
        char wanted[200];
        write_file("bad.trace", traces[i].trace);
        assert_int_equal(parse_in_folder("target http://a\n" FLOW "phase p trace bad.trace\n"), STATUS_INVALID);
        snprintf(wanted, sizeof(wanted), "line 4, column 15: %s", traces[i].why);
        assert_string_equal(why, wanted);
    }
    assert_int_equal(parse_in_folder("feed u csv nothing.csv\n"), STATUS_INVALID);
    assert_non_null(strstr(why, "line 1, column 12: the file "));
    assert_non_null(strstr(why, "nothing.csv cannot be opened"));
    assert_int_equal(scenario_parse(SLICE("feed u csv a.csv\n"), NULL, NULL, scenario, why, sizeof(why)),
                     STATUS_INVALID);
    assert_string_equal(why, "line 1, column 12: files cannot be read here");

    /* The simulator takes the workload of a scenario, and of a file that is nothing else. */
    struct workload workload;
    char path[128];
    write_file("x.scenario", "start hub\nkind a\nnodes 3\nflow f\n submit\nphase p users 1 for 1s\n");
    snprintf(path, sizeof(path), "%s/x.scenario", folder);
    assert_int_equal(scenario_load_workload(path, &workload, why, sizeof(why)), STATUS_OK);
    assert_true(workload.node_count == 3 && workload.kind_count == 1);
    write_file("w.scenario", "kind a\nnodes 2 slots 5\nclients 3\n");
    snprintf(path, sizeof(path), "%s/w.scenario", folder);
    assert_int_equal(scenario_load_workload(path, &workload, why, sizeof(why)), STATUS_OK);
    assert_true(workload.node_count == 2 && workload.clients == 3);
    assert_int_equal(scenario_load(path, NULL, scenario, why, sizeof(why)), STATUS_INVALID);
    assert_string_equal(why, "line 3, column 10: there is no phase; \"phase NAME constant 100/s for 10s\", for one, "
                             "says who comes when");
    write_file("w.scenario", "kind a\nphase p users 1\n");
    assert_int_equal(scenario_load_workload(path, &workload, why, sizeof(why)), STATUS_INVALID);
    write_file("w.scenario", "kind a\n");
    assert_int_equal(scenario_load_workload(path, &workload, why, sizeof(why)), STATUS_INVALID);
    assert_string_equal(why, "line 1, column 1: there are no nodes; \"nodes N\" makes some");
    unlink(path);
    assert_int_equal(scenario_load(path, NULL, scenario, why, sizeof(why)), STATUS_NOT_FOUND);
    remove_folder();
}

/* --- mistakes --- */

#define HTTP "target http://a\n"
#define END FLOW "phase p constant 1/s for 1s\n"

static const struct {
    const char *text, *why;
} mistakes[] = {
    {"", "line 1, column 1: there is no phase; \"phase NAME constant 100/s for 10s\", for one, says who comes when"},
    {"phaes p", "line 1, column 1: \"phaes\" is no statement; did you mean \"phase\"?"},
    {"  gte /", "line 1, column 3: \"gte\" is no statement; did you mean \"gate\"?"},
    {"title", "line 1, column 6: a text in quotes is missing here"},
    {"title a b", "line 1, column 9: nothing more is expected here, but there is \"b\""},
    {"title a\ntitle b", "line 2, column 1: there is one title already"},
    {"title \"a", "line 1, column 7: the \" that begins here has no end in this line"},
    {"seed x", "line 1, column 6: \"x\" is no value for seed: a whole number such as 20 or 5k is needed"},
    {"sample 5s", "line 1, column 10: \"sample every DURATION\" is how this is written"},
    {"sample every 10ms", "line 1, column 14: sample every takes 1s to 1h, not \"10ms\""},
    {"let 5a 3", "line 1, column 5: \"5a\" is no name for let: letters, digits and \"_\" make one"},
    {"let a 3\nlet a 4", "line 2, column 5: $a has a value already"},
    {"let rate 3\nseed $raet",
     "line 2, column 6: $raet has no value: \"let raet VALUE\" above gives it one; did you mean "
     "$rate?"},
    {"seed $x", "line 1, column 6: $x has no value: \"let x VALUE\" above gives it one (and $$ is a plain $)"},
    {"target", "line 1, column 7: a URL, or the name of what is started is missing here"},
    {HTTP HTTP, "line 2, column 1: there is a target already, in line 1"},
    {"target ftp://a\n" END, "line 1, column 8: \"ftp://a\" is no target: http://HOST:PORT is needed"},
    {"target hbu\nstart hub\n" END,
     "line 1, column 8: \"hbu\" is no URL and no hub, proxy or exec that is started; did you mean \"hub\"?"},
    {HTTP "target http://b connections 0", "line 2, column 1: there is a target already, in line 1"},
    {"target http://b connections 0", "line 1, column 29: connections takes 1 to 100k, not \"0\""},
    {END, "line 3, column 28: there is nobody to ask; \"target http://HOST:PORT\" or \"start hub\" names one"},
    /* starts */
    {"start", "line 1, column 6: hub, node, proxy or exec is missing here"},
    {"start hob", "line 1, column 7: \"hob\" is nothing that can be started; did you mean \"hub\"?"},
    {"start hub a/b", "line 1, column 11: \"a/b\" is not a name: letters, digits, \".\", \"-\" and \"_\" make one"},
    {"start hub set x", "line 1, column 15: \"x\" is no setting: KEY=VALUE is needed"},
    {"start hub slots 3", "line 1, column 11: \"slots\" is no word that can stand here; there are: disk, memory, set"},
    {"start hub\nstart hub", "line 2, column 7: there is a \"hub\" already, in line 1"},
    {"start node n count 2\nstart node n2", "line 2, column 12: there is a \"n\" already, in line 1"},
    {"start hub generator", "line 1, column 11: \"generator\" is the name of something else in reports"},
    {"start exec web", "line 1, column 15: a command in quotes is missing here"},
    {HTTP "start node\n" END, "line 2, column 1: no hub is started to which \"node\" could connect"},
    {HUB "start node to hob\n" END,
     "line 2, column 15: \"hob\" is no hub or proxy that is started; did you mean \"hub\"?"},
    {HUB "start node kinds a,,b", "line 2, column 18: \"a,,b\" is no list of kinds: names with commas are needed"},
    {"start hub disk 1k", "line 1, column 16: disk takes 1M to 1024G, not \"1k\""},
    /* feeds */
    {"feed", "line 1, column 5: a name of a feed is missing here"},
    {"feed f xsv a", "line 1, column 8: \"xsv\" is no sort of feed; did you mean \"csv\"?"},
    {"feed f range 9..5",
     "line 1, column 14: \"9..5\" is no value for range: a whole number such as 20 or 5k is needed, "
     "or a range such as 1..5"},
    {"feed f range 1..5 twice", "line 1, column 19: \"twice\" is no order; there are: cycle, random, once"},
    {"feed f words", "line 1, column 13: a word is missing here"},
    {"feed f words a\nfeed f words b", "line 2, column 6: there is a feed \"f\" already"},
    {"feed index words a", "line 1, column 6: there is a ${index} already"},
    /* flows */
    {"get /", "line 1, column 1: \"get\" is a step, and steps stand below \"flow NAME\""},
    {"flow f\nseed 3\n get /", "line 3, column 2: \"get\" is a step, and steps stand below \"flow NAME\""},
    {"flow f\nflow f", "line 2, column 6: there is a flow \"f\" already"},
    {"flow f share 0", "line 1, column 14: share takes 1 to 1M, not \"0\""},
    {HTTP "flow f\nphase p users 1 for 1s",
     "line 2, column 1: the flow \"f\" asks for nothing; steps such as \"get /\" stand below it"},
    {"flow f\n get", "line 2, column 5: a path such as /v1/tasks is missing here"},
    {"flow f\n get v1", "line 2, column 6: \"v1\" is no path: it begins with /"},
    {"flow f\n get '/a b'", "line 2, column 6: a path holds no blank: %20 stands for one"},
    {"flow f\n get / body x", "line 2, column 8: \"body\" is no word that can stand here; there are: timeout, times, "
                              "header, expect, match, take, as"},
    {"flow f\n post / body x body y", "line 2, column 21: there is a body already"},
    {"flow f\n get / expect 700", "line 2, column 15: \"700\" is no status code: 200, 2xx or 200..404 is needed"},
    {"flow f\n get / header Accept", "line 2, column 15: \"Accept\" is no header: \"Name: value\" is needed"},
    {"flow f\n get / header \"Content-Length: 3\"",
     "line 2, column 15: the header content-length is set by the generator"},
    {"flow f\n get / take id", "line 2, column 13: \"id\" takes nothing: VARIABLE=/json/pointer is needed"},
    {"flow f\n get / take id=/a~b", "line 2, column 13: in a JSON pointer a ~ is written ~0, and a / in a name ~1"},
    {"flow f\n get /${idx}", "line 2, column 6: \"idx\" is no variable that is known here; did you mean \"index\"?"},
    {"flow f\n get / take a=/a\nflow g\n get /${a}", "line 4, column 6: \"a\" is no variable that is known here; there "
                                                     "are: index, user, uuid"},
    {"flow f\n get /${index", "line 2, column 6: a ${ has no } behind it (and $$ is a plain $)"},
    {"flow f\n get /${port}", "line 2, column 6: \"port\" is no variable that is known here; there are: index, user, "
                              "uuid"},
    {"flow f\n get / as a@b", "line 2, column 11: a label is not empty and has no @"},
    {"flow f\n get / match ''", "line 2, column 14: an empty text is in every answer"},
    {"flow f\n submit 2000", "line 2, column 9: submit takes 1 to 1k, not \"2000\""},
    {HTTP "flow f\n submit\nphase p users 1 for 1s",
     "line 3, column 1: there is no kind of task to submit; \"kind NAME\" makes one"},
    {HTTP "flow f\n ws-send hi\nphase p users 1 for 1s",
     "line 3, column 1: there is no WebSocket to send on; \"ws-open PATH\" above opens one"},
    {"flow f\n think",
     "line 2, column 7: a value for think (a duration such as 250ms, 1.5s, 2m or 1h30m) is missing here"},
    {"flow f\n ws-close now", "line 2, column 11: nothing more is expected here, but there is \"now\""},
    /* phases */
    {"phase", "line 1, column 6: a name of a phase is missing here"},
    {"phase start users 1 for 1s", "line 1, column 7: \"start\" means the beginning and cannot be a phase's name"},
    {"phase p", "line 1, column 8: a model such as constant, ramp or users is missing here"},
    {"phase p constnat 5/s", "line 1, column 9: \"constnat\" is no model of a phase; did you mean \"constant\"?"},
    {"phase p constant 5", "line 1, column 18: \"5\" is no rate: a rate such as 500/s, 10k/s or 30/m is needed"},
    {"phase p constant 0/s for 1s",
     "line 1, column 18: a rate of nothing asks for nothing; \"idle\" is the phase for that"},
    {"phase p constant 5/s", "line 1, column 21: how long this phase is, \"for D\", is missing here"},
    {"phase p constant 5/s for 5",
     "line 1, column 26: \"5\" is no value for for: a duration such as 250ms, 1.5s, 2m or 1h30m is "
     "needed"},
    {"phase p ramp 5/s for 5s", "line 1, column 14: \"5/s\" is no rate: two rates such as 10/s..500/s is needed"},
    {"phase p step 1/s..5/s for 5s", "line 1, column 23: \"steps\" is missing here: step R/s..R/s steps N"},
    {"phase p spike 1/s..5/s at 5s for 3s for 6s", "line 1, column 43: the spike ends after the phase does"},
    {"phase p burst 5 every 1s times 3 over 2s", "line 1, column 39: over takes 0 to 1s, not \"2s\""},
    {"phase p users 0 for 1s", "line 1, column 15: users takes 1 to 1000000"},
    {"phase p users many for 1s", "line 1, column 15: \"many\" is no number of users: 500, or 10..500, is needed"},
    {"phase p users 5", "line 1, column 16: how long this phase is, \"for D\" or \"iterations N\", is missing here"},
    {"phase p users 5 for 1s think 1s pacing 1s", "line 1, column 42: think and pacing exclude each other"},
    {"phase p users 1..5 iterations 9",
     "line 1, column 32: over which time the users change, \"ramp D\", is missing here"},
    {"phase p users 5 ramp 2s for 1s", "line 1, column 31: the ramp is longer than the phase"},
    {"phase p users 5 shed 3 for 1s",
     "line 1, column 17: \"shed\" is no word that can stand here; there are: for, delay, "
     "ramp, think, pacing, iterations, flow, after, discard"},
    {"phase p idle for 1s\nphase p idle for 1s", "line 2, column 7: there is a phase \"p\" already"},
    {"phase p idle for 1s after q", "line 1, column 27: \"q\" is no phase that stands above; there are: start"},
    {HTTP "phase p users 1 for 1s",
     "line 2, column 1: there is no flow; \"flow NAME\" and its steps say what is asked"},
    {HTTP FLOW "phase p users 1 for 1s flow g", "line 4, column 29: \"g\" is no flow of this scenario; there are: f"},
    {HTTP FLOW "phase p idle for 1s flow f", "line 4, column 26: in an idle phase nobody follows a flow"},
    /* faults */
    {"fault", "line 1, column 6: what happens, such as kill or delay, is missing here"},
    {"fault kil hub", "line 1, column 7: \"kil\" is no fault; did you mean \"kill\"?"},
    {HUB "fault kill hub", "line 2, column 15: when it happens, \"at D\", is missing here"},
    {HUB "fault kill hbu at 1s\n" END,
     "line 2, column 12: \"hbu\" is nothing that is started here; did you mean \"hub\"?"},
    {HUB "fault delay hub 5ms at 1s\n" END,
     "line 2, column 13: delay cannot be done to \"hub\": it is for a proxy (start proxy, target proxy)"},
    {HUB "start proxy\nfault kill proxy at 1s\n" END,
     "line 3, column 12: kill cannot be done to \"proxy\": it is for a process that is started"},
    {HUB "start proxy\nfault delay proxy at 1s", "line 3, column 24: delay needs a value: a duration or range such as "
                                                 "20..50ms"},
    {HUB "start proxy\nfault bandwidth proxy 100k at 1s",
     "line 3, column 23: \"100k\" is no bandwidth: 100k/s, in bytes of 1024, is needed"},
    {HUB "fault freeze hub at 1s", "line 2, column 23: how long it stays frozen, \"for D\", is missing here"},
    {HUB "fault kill hub at 1s for 5s every 2s",
     "line 2, column 37: it would come again before it has ended: every is not longer than for"},
    {HUB "fault kill hub at 1s in q\n" END, "line 2, column 25: \"q\" is no phase of this scenario; there are: p"},
    {HUB "fault kill hub at 1s in p\n" END, "line 2, column 25: the phase is over before the fault comes"},
    {HUB "fault fill-disk hub at 1s\n" END,
     "line 2, column 17: only a disk of its own can be filled: \"start hub hub disk 64M\" gives it one"},
    /* gates */
    {"gate", "line 1, column 5: a metric such as p99 or success@steady is missing here"},
    {"gate sucess > 1",
     "line 1, column 6: \"sucess\" is no metric; did you mean \"success\"?; \"shoal bench metrics\" lists "
     "them"},
    {"gate zebra < 1s", "line 1, column 6: \"zebra\" is no metric; \"shoal bench metrics\" lists them"},
    {"gate p99 = 1s", "line 1, column 10: \"=\" compares nothing: one of < <= > >= == ~ is needed"},
    {"gate p99 < 5",
     "line 1, column 12: \"5\" is no value for p99: a number with ns, us, ms, s, m, h behind it is needed"},
    {"gate success > 5ms", "line 1, column 16: \"5ms\" is no value for success: a number with %, nothing behind it is "
                           "needed"},
    {"gate p99 < 5ms from 5s to 3s", "line 1, column 16: the window is empty: it ends before it begins"},
    {"gate leak.hub < 5 from 5s",
     "line 1, column 19: leak.hub is known of a whole phase or run, not of a window in it"},
    {HTTP "gate p99@q < 5ms\n" END, "line 2, column 6: \"q\" is no phase of this scenario; there are: p"},
    {HTTP "gate p99:x < 5ms\n" END, "line 2, column 6: \"x\" is no step of this scenario; there are: get /"},
    {HTTP "gate cpu.hub < 5%\n" END, "line 2, column 6: \"hub\" is no process of this scenario; there are: generator, "
                                     "machine"},
    {HUB "gate recover.kill_hub < 5s\n" END,
     "line 2, column 6: \"kill_hub\" is no fault of this scenario; there are: none"},
    /* workload */
    {"kind", "line 1, column 5: a name of a kind is missing here"},
    {HTTP "nodes 3\nkind a\n" END, "line 6, column 28: nodes do kinds of tasks; \"kind NAME\" stands above \"nodes\""},
    {HTTP "kind a share 0\n" END, "line 5, column 28: there is no kind with a share; \"kind NAME\" makes one"},
};

static void test_mistakes(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < ARRAY_COUNT(mistakes); i++) {
        why[0] = '\0';
        enum status status = scenario_parse(slice_str(mistakes[i].text), NULL, NULL, scenario, why, sizeof(why));
        if (status != STATUS_INVALID || strcmp(why, mistakes[i].why) != 0) {
            print_error("%s\n  wanted %s\n  got    %s\n", mistakes[i].text, mistakes[i].why, why);
            wrong++;
        }
        assert_null(scenario->memory); /* nothing is left */
    }
    assert_int_equal(wrong, 0);
}

static void test_defines_that_are_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *define, *why;
    } cases[] = {
        {"raet=5", "line 1, column 1: \"raet\" is no name that this scenario has a value for; did you mean \"rate\"?"},
        {"rate", "line 1, column 1: \"rate\" is not NAME=VALUE"},
        {"=5", "line 1, column 1: \"=5\" is not NAME=VALUE"},
        {"rate=x", "line 5, column 18: \"x/s\" is no rate: a rate such as 500/s, 10k/s or 30/m is needed"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *const defines[] = {cases[i].define, NULL};
        assert_int_equal(scenario_parse(SLICE(HTTP "let rate 3\n" FLOW "phase p constant $rate/s for 1s\n"), NULL,
                                        defines, scenario, why, sizeof(why)),
                         STATUS_INVALID);
        assert_string_equal(why, cases[i].why);
    }
}

/* Every prefix and many mutations of a whole scenario end in a struct or in a sentence with a place. */
static void test_garbage(void **state)
{
    (void)state;
    static const char text[] =
        "title \"x\"\nlet r 5\nstart hub set a=b\nstart proxy net\ntarget net timeout 3s\nfeed w words a b random\n"
        "kind k work 1..5ms\nnodes 3 slots 2\nflow f share 2\n get /${w}/${index} header 'A: b' take id=/id as x\n"
        " submit 10\n think 1ms\nphase p spike 1/s..$r/s at 1s for 1s for 5s shed 9\nphase q users 1..5 for 1s after p\n"
        "fault kill hub at 1s in p for 1s as die\nfault delay net 1..5ms at 1s\ngate p99:x@p < 5ms\ngate recover.die < 1s\n";
    struct rng rng = test_rng();
    parse(text);
    scenario_free(scenario);
    int good = 0;
    for (size_t round = 0; round < 6000; round++) {
        size_t len = round < sizeof(text) ? round : sizeof(text) - 1;
        char *copy = malloc(len + 1);
        memcpy(copy, text, len);
        for (uint64_t i = rng_below(&rng, round < sizeof(text) ? 1 : 6); i > 0; i--) {
            static const char bytes[] = "$.{}/%'\"0 9sk\n\xff";
            copy[rng_below(&rng, len)] = rng_below(&rng, 2) == 0 ? bytes[rng_below(&rng, sizeof(bytes) - 1)]
                                                                 : text[rng_below(&rng, sizeof(text) - 1)];
        }
        why[0] = '\0';
        enum status status = scenario_parse(slice_of(copy, len), NULL, NULL, scenario, why, sizeof(why));
        free(copy);
        if (status == STATUS_OK) {
            good++;
            scenario_free(scenario);
        } else {
            assert_int_equal(status, STATUS_INVALID);
            assert_true(strncmp(why, "line ", 5) == 0 && strstr(why, ", column ") != NULL);
        }
    }
    assert_true(good > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_small_statements),
        cmocka_unit_test(test_starts),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_phases),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_gates),
        cmocka_unit_test(test_feeds_and_names),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_defines_that_are_wrong),
        cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
