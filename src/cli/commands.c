/* commands.c - the one table of commands and options. The parser, --help, the man page and the suggestions read it. */
#include "base/limits.h"
#include "cli/cli.h"

#define DURATION_MAX LIMIT_DURATION_MS

#define OPTION_HELP                                                                                                    \
    {                                                                                                                  \
        "help", CLI_FLAG, NULL, NULL, NULL, "Shows this help.", 0, 0                                                   \
    }
#define OPTION_JSON                                                                                                    \
    {                                                                                                                  \
        "json", CLI_FLAG, NULL, NULL, NULL, "Prints JSON; errors too, on standard error.", 0, 0                        \
    }
#define OPTION_HUB                                                                                                     \
    {"hub", CLI_TEXT, "URL", CLI_HUB_DEFAULT, "SHOAL_HUB", "Address of the hub.", 0, 0},                               \
    {                                                                                                                  \
        "api-key-file", CLI_TEXT, "FILE", NULL, "SHOAL_API_KEY_FILE",                                                  \
            "File whose first line is the key that the hub asks for, if it does.", 0, 0                                \
    }
#define OPTION_ASKS_KEY                                                                                                \
    {"api-key-file",                                                                                                   \
     CLI_TEXT,                                                                                                         \
     "FILE",                                                                                                           \
     NULL,                                                                                                             \
     NULL,                                                                                                             \
     "File whose first line is the key that every caller must show; needed beyond loopback.",                          \
     0,                                                                                                                \
     0},                                                                                                               \
    {                                                                                                                  \
        "no-auth", CLI_FLAG, NULL, NULL, NULL, "Listens beyond loopback although nobody is asked for a key.", 0, 0     \
    }
#define OPTION_END                                                                                                     \
    {                                                                                                                  \
        NULL, CLI_FLAG, NULL, NULL, NULL, NULL, 0, 0                                                                   \
    }
#define OPTION_LOG                                                                                                     \
    {"log-level", CLI_TEXT, "LEVEL", "info", NULL, "Least level of log lines: debug, info, warn or error.", 0, 0},     \
    {                                                                                                                  \
        "log-json", CLI_FLAG, NULL, NULL, NULL, "Writes log lines as JSON.", 0, 0                                      \
    }
#define OPTION_DATA_HUB                                                                                                \
    {                                                                                                                  \
        "data", CLI_TEXT, "DIR", "shoal-data", NULL, "Data directory of the hub.", 0, 0                                \
    }
#define OPTION_LABELS                                                                                                  \
    {                                                                                                                  \
        "labels", CLI_LIST, "A,B=C", NULL, NULL, "Labels of the node, which tasks may require.", 0, 0                  \
    }
#define OPTION_OFFER                                                                                                   \
    {                                                                                                                  \
        "offer", CLI_LIST, "KIND", NULL, NULL,                                                                         \
            "Offers exactly this kind; without the option, every kind that this machine can run.", 0, 0                \
    }
#define OPTION_DRAIN                                                                                                   \
    {                                                                                                                  \
        "drain", CLI_DURATION, "TIME", "30s", NULL, "How long running work may take to end after the first signal.",   \
            0, DURATION_MAX                                                                                            \
    }
#define OPTION_SLOTS                                                                                                   \
    {                                                                                                                  \
        "slots", CLI_NUMBER, "N", NULL, NULL, "Attempts that run at a time; without the option, the number of cores.", \
            1, 1024                                                                                                    \
    }
#define OPTION_SET                                                                                                     \
    {                                                                                                                  \
        "set", CLI_LIST, "KEY=VALUE", NULL, NULL, "Sets one key of the configuration file.", 0, 0                      \
    }
#define OPTION_CONFIG                                                                                                  \
    {                                                                                                                  \
        "config", CLI_TEXT, "FILE", NULL, NULL, "Configuration file (YAML).", 0, 0                                     \
    }

static const struct cli_option hub_options[] = {
    {"data", CLI_TEXT, "DIR", NULL, NULL,
     "Data directory, made when missing; shoal-data unless the file says otherwise.", 0, 0},
    {"listen", CLI_TEXT, "HOST:PORT", NULL, "SHOAL_LISTEN",
     "Address to listen on; " CLI_LISTEN_DEFAULT " unless the file says otherwise. Port 0 takes any.", 0, 0},
    OPTION_CONFIG,
    OPTION_SET,
    {"durability", CLI_TEXT, "WORD", NULL, NULL,
     "batch: an answer waits for the disk. interval: a crash of the machine can lose the last moments. none: it can "
     "lose anything.",
     0, 0},
    {"node-key-file", CLI_TEXT, "FILE", NULL, NULL, "File whose first line is the key that nodes must show.", 0, 0},
    OPTION_ASKS_KEY,
    OPTION_LOG,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

static const struct cli_option node_options[] = {
    OPTION_HUB,
    {"name", CLI_TEXT, "NAME", NULL, NULL,
     "Name of the node; without the option, that of the machine and six digits of the data directory.", 0, 0},
    OPTION_SLOTS,
    {"data", CLI_TEXT, "DIR", "shoal-node", NULL, "Directory for scratch files and caches, made when missing.", 0, 0},
    OPTION_LABELS,
    {"key-file", CLI_TEXT, "FILE", NULL, NULL,
     "File whose first line is the key that the hub asks nodes for; without it, that of --api-key-file is shown.", 0,
     0},
    OPTION_OFFER,
    OPTION_DRAIN,
    OPTION_LOG,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

static const struct cli_option up_options[] = {
    {"data", CLI_TEXT, "DIR", "shoal-data", NULL, "Directory for everything, made when missing.", 0, 0},
    {"listen", CLI_TEXT, "HOST:PORT", CLI_LISTEN_DEFAULT, "SHOAL_LISTEN", "Address of the hub. Port 0 takes any.", 0,
     0},
    {"name", CLI_TEXT, "NAME", NULL, NULL,
     "Name of the node; without the option, that of the machine and six digits of the data directory.", 0, 0},
    OPTION_SLOTS,
    OPTION_LABELS,
    OPTION_OFFER,
    OPTION_DRAIN,
    {"node-key-file", CLI_TEXT, "FILE", NULL, NULL, "File whose first line is the key that nodes must show.", 0, 0},
    OPTION_ASKS_KEY,
    OPTION_CONFIG,
    OPTION_SET,
    {"log-level", CLI_TEXT, "LEVEL", "warn", NULL, "Least level of log lines: debug, info, warn or error.", 0, 0},
    {"log-json", CLI_FLAG, NULL, NULL, NULL, "Writes log lines as JSON.", 0, 0},
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

static const struct cli_option submit_options[] = {
    {"input", CLI_TEXT, "JSON|@FILE|-", NULL, NULL, "The input: JSON, a file of JSON, or standard input.", 0, 0},
    {"file", CLI_LIST, "PATH[=NAME]", NULL, NULL,
     "code.run: a file for the program, under NAME. Without a FILE, the first that is a source file is run.", 0, 0},
    {"lang", CLI_TEXT, "LANG", NULL, NULL,
     "code.run: python, javascript, c, cpp or java; without the option, told by the file's name.", 0, 0},
    {"entry", CLI_TEXT, "NAME", NULL, NULL, "code.run: the file to run, when it is not the first source file.", 0, 0},
    {"stdin", CLI_TEXT, "FILE", NULL, NULL, "code.run: standard input of the program, any bytes (- for our own).", 0,
     0},
    {"unbuffered", CLI_FLAG, NULL, NULL, NULL, "code.run: the program keeps back nothing of what it writes.", 0, 0},
    {"arg", CLI_LIST, "WORD", NULL, NULL, "code.run: an argument of the program.", 0, 0},
    {"flag", CLI_LIST, "FLAG", NULL, NULL, "code.run: a flag of the compiler or interpreter, as --flag=-O2.", 0, 0},
    {"limit", CLI_LIST, "NAME=N", NULL, NULL, "code.run: cpu_ms, wall_ms, mem_mib, procs, out_kib or fs_mib.", 0, 0},
    {"wait", CLI_FLAG, NULL, NULL, NULL, "Waits for the end and prints the result.", 0, 0},
    {"wait-for", CLI_DURATION, "TIME", NULL, NULL, "Waits, but no longer than this.", 1, DURATION_MAX},
    {"queue", CLI_TEXT, "NAME", NULL, NULL, "The queue; \"default\" without the option.", 0, 0},
    {"priority", CLI_NUMBER, "0..9", NULL, NULL, "9 goes first; 5 without the option.", 0, LIMIT_PRIORITY_MAX},
    {"fairness-key", CLI_TEXT, "KEY", NULL, NULL, "Tasks with different keys share a queue evenly.", 0, 0},
    {"weight", CLI_NUMBER, "N", NULL, NULL, "Weight of the fairness key.", 1, LIMIT_WEIGHT_MAX},
    {"key", CLI_TEXT, "KEY", NULL, NULL,
     "Idempotency key: the same submit with the same key makes one task, however often it is sent.", 0, 0},
    {"unique", CLI_TEXT, "KEY", NULL, NULL, "No second task while one with this key is not finished.", 0, 0},
    {"retry-max", CLI_NUMBER, "N", NULL, NULL, "Failed attempts before the task is dead; 3 without the option.", 1,
     LIMIT_ATTEMPTS},
    {"timeout", CLI_DURATION, "TIME", NULL, NULL, "Longest time of one attempt.", 1, DURATION_MAX},
    {"lease", CLI_DURATION, "TIME", NULL, NULL, "How long a silent node keeps the task.", LIMIT_LEASE_MS_MIN,
     LIMIT_LEASE_MS_MAX},
    {"delay", CLI_DURATION, "TIME", NULL, NULL, "Starts no sooner than after this time.", 0, DURATION_MAX},
    {"run-at", CLI_TEXT, "TIME", NULL, NULL, "Starts no sooner than at this time (RFC 3339).", 0, 0},
    {"ttl", CLI_DURATION, "TIME", NULL, NULL, "Expires when it is not finished after this time.", 1, DURATION_MAX},
    {"label", CLI_LIST, "LABEL", NULL, NULL, "Runs only on a node with this label.", 0, 0},
    {"cpu", CLI_NUMBER, "N", NULL, NULL, "Runs only on a node with so many cores.", 0, 1000000},
    {"memory", CLI_NUMBER, "MIB", NULL, NULL, "Runs only on a node with so much memory.", 0, INT32_MAX},
    {"gpu", CLI_NUMBER, "N", NULL, NULL, "Runs only on a node with so many GPUs.", 0, 1000},
    {"alone", CLI_FLAG, NULL, NULL, NULL, "Runs only on a node that runs nothing else meanwhile.", 0, 0},
    OPTION_HUB,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

static const struct cli_option get_options[] = {
    {"wait", CLI_FLAG, NULL, NULL, NULL, "Waits until the task is finished.", 0, 0},
    {"wait-for", CLI_DURATION, "TIME", NULL, NULL, "Waits, but no longer than this.", 1, DURATION_MAX},
    {"result", CLI_FLAG, NULL, NULL, NULL, "Prints only what came out, as submit --wait does.", 0, 0},
    {"attempts", CLI_FLAG, NULL, NULL, NULL, "Shows the attempts, each with its node.", 0, 0},
    OPTION_HUB,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

static const struct cli_option ls_options[] = {
    {"state", CLI_TEXT, "STATE", NULL, NULL,
     "Only tasks in this state: scheduled, blocked, ready, leased, validating, succeeded, dead, cancelled or expired.",
     0, 0},
    {"queue", CLI_TEXT, "NAME", NULL, NULL, "Only tasks of this queue.", 0, 0},
    {"kind", CLI_TEXT, "KIND", NULL, NULL, "Only tasks of this kind.", 0, 0},
    {"error", CLI_TEXT, "KIND", NULL, NULL, "Only tasks whose last error is of this kind.", 0, 0},
    {"since", CLI_TEXT, "TIME|AGO", NULL, NULL,
     "Only tasks created at this time (RFC 3339, or 2h for two hours ago) or later.", 0, 0},
    {"until", CLI_TEXT, "TIME|AGO", NULL, NULL, "Only tasks created before this time.", 0, 0},
    {"oldest", CLI_FLAG, NULL, NULL, NULL, "Oldest first.", 0, 0},
    {"limit", CLI_NUMBER, "N", "50", NULL, "At most so many.", 1, 1000000000},
    {"cursor", CLI_TEXT, "WORD", NULL, NULL, "Goes on where the former page ended.", 0, 0},
    {"all", CLI_FLAG, NULL, NULL, NULL, "All of them.", 0, 0},
    OPTION_HUB,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

static const struct cli_option tail_options[] = {
    {"queue", CLI_TEXT, "NAME", NULL, NULL, "Only tasks of this queue.", 0, 0},
    {"kind", CLI_TEXT, "KIND", NULL, NULL, "Only tasks of this kind.", 0, 0},
    OPTION_HUB,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

static const struct cli_option cancel_options[] = {
    {"reason", CLI_TEXT, "TEXT", NULL, NULL, "Kept with the task.", 0, 0},
    OPTION_HUB,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

static const struct cli_option client_options[] = {OPTION_HUB, OPTION_JSON, OPTION_HELP, OPTION_END};

static const struct cli_option verify_options[] = {OPTION_DATA_HUB, OPTION_JSON, OPTION_HELP, OPTION_END};

static const struct cli_option repair_options[] = {
    OPTION_DATA_HUB, {"dry-run", CLI_FLAG, NULL, NULL, NULL, "Only says what it would do.", 0, 0},
    OPTION_JSON,     OPTION_HELP,
    OPTION_END,
};

static const struct cli_option doctor_options[] = {
    {"data", CLI_TEXT, "DIR", "shoal-data", NULL, "Directory whose disk is tried.", 0, 0},
    {"listen", CLI_TEXT, "HOST:PORT", CLI_LISTEN_DEFAULT, "SHOAL_LISTEN", "Address that is tried.", 0, 0},
    {"quick", CLI_FLAG, NULL, NULL, NULL, "Leaves out the proof of each kind, which takes some seconds.", 0, 0},
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

static const struct cli_option sim_options[] = {
    {"seed", CLI_NUMBER, "N", "1", NULL, "Decides everything that happens.", 0, INT64_MAX},
    {"seeds", CLI_NUMBER, "N", "1", NULL, "Runs so many seeds, from --seed on.", 1, INT64_MAX},
    {"time", CLI_DURATION, "TIME", NULL, NULL, "Runs seeds for so long instead.", 1, DURATION_MAX},
    {"steps", CLI_NUMBER, "N", "20000", NULL, "Events before the faults heal.", 1, INT64_MAX},
    {"workload", CLI_TEXT, "FILE", NULL, NULL, "What is asked of the hub; docs/simulator.md has the grammar.", 0, 0},
    {"faults", CLI_TEXT, "A,B", "all", NULL, "Sorts of faults; -A leaves one out, none has none.", 0, 0},
    {"fault-rate", CLI_NUMBER, "PERCENT", "100", NULL, "How many faults.", 1, 100000},
    {"mutation", CLI_TEXT, "NAME", NULL, "SHOAL_MUTATION", "Turns a planted bug on, in a build that has them.", 0, 0},
    {"no-shrink", CLI_FLAG, NULL, NULL, NULL, "Does not look for a smaller history that fails alike.", 0, 0},
    {"check", CLI_TEXT, "FILE", NULL, NULL, "Judges a recorded history of real processes instead.", 0, 0},
    {"list", CLI_FLAG, NULL, NULL, NULL, "Lists faults and planted bugs.", 0, 0},
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

static const struct cli_option bench_options[] = {
    {"set", CLI_LIST, "NAME=VALUE", NULL, NULL, "Stands for $NAME in the scenario.", 0, 0},
    {"out", CLI_TEXT, "FOLDER", NULL, NULL,
     "Writes the report there; without the option, run writes it into a folder of its own in bench-runs, and http none.",
     0, 0},
    {"no-report", CLI_FLAG, NULL, NULL, NULL, "Writes no report.", 0, 0},
    {"time-scale", CLI_TEXT, "X", NULL, NULL, "Multiplies the durations of phases.", 0, 0},
    {"quick", CLI_FLAG, NULL, NULL, NULL, "The same as --time-scale 0.1; verify: shorter and smaller runs.", 0, 0},
    {"only", CLI_TEXT, "PATTERN", NULL, NULL,
     "verify, claims: only claims with such an id, \"*\" standing for anything.", 0, 0},
    {"no-live", CLI_FLAG, NULL, NULL, NULL, "Shows nothing while it runs.", 0, 0},
    {"for", CLI_DURATION, "TIME", "10s", NULL, "http: how long.", 1, DURATION_MAX},
    {"users", CLI_NUMBER, "N", NULL, NULL,
     "http: users that ask again as soon as they have an answer; capacity: as many at most, 64 without it.", 1,
     1000000},
    {"connections", CLI_NUMBER, "N", "10", NULL, "http: connections; without --rate as many users.", 1, 1000000},
    {"rate", CLI_TEXT, "R", NULL, NULL, "http: requests a second, whatever the answers take.", 0, 0},
    {"timeout", CLI_DURATION, "TIME", "10s", NULL, "http: when a request counts as failed.", 1, DURATION_MAX},
    {"header", CLI_LIST, "LINE", NULL, NULL, "http: a header, such as \"Accept: text/plain\".", 0, 0},
    {"body", CLI_TEXT, "TEXT|@FILE", NULL, NULL, "http: posts this, or what is in a file.", 0, 0},
    {"rounds", CLI_NUMBER, "N", "5", NULL, "compare: how often A and B run, in turn.", 1, 1000},
    {"scenario", CLI_TEXT, "FILE", NULL, NULL, "compare: what two programs run.", 0, 0},
    {"a-set", CLI_LIST, "NAME=VALUE", NULL, NULL, "compare: as --set, for A alone.", 0, 0},
    {"b-set", CLI_LIST, "NAME=VALUE", NULL, NULL, "compare: as --set, for B alone.", 0, 0},
    {"metric", CLI_LIST, "NAME", NULL, NULL, "compare: instead of goodput, p50 and p99.", 0, 0},
    {"from", CLI_NUMBER, "R", "100", NULL, "capacity: the first rate a second that is tried.", 1, 10000000},
    {"point", CLI_DURATION, "TIME", "5s", NULL, "capacity: how long each rate is measured.", 1, DURATION_MAX},
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

static const struct cli_option plain_options[] = {OPTION_JSON, OPTION_HELP, OPTION_END};

static const struct cli_option help_options[] = {
    {"man", CLI_FLAG, NULL, NULL, NULL, "Prints the man page: shoal help --man | man -l -", 0, 0},
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

const struct cli_command cli_commands[] = {
    {"up", "", 0, 0, "start a hub and one node on this machine",
     "Starts a hub and one node that works for it, until Ctrl-C. The first Ctrl-C lets running work end, the second does "
     "not wait. Everything is kept below the data directory; the next start goes on where this one ended.",
     "  shoal up\n  shoal up --listen 127.0.0.1:8080 --slots 4\n", up_options, cli_up},
    {"hub", "", 0, 0, "run a hub",
     "Runs the hub: it keeps tasks durably, hands them to nodes and answers over HTTP. It prints its address when it is "
     "ready and ends on Ctrl-C or SIGTERM.",
     "  shoal hub --data /var/lib/shoal --listen 0.0.0.0:7433 --api-key-file key\n  shoal hub --config hub.yaml --set beat_ms=250\n",
     hub_options, cli_hub},
    {"node", "", 0, 0, "run a node",
     "Runs a node: it joins a hub, takes as many tasks as it has slots and runs them in sandboxes. When the hub is away it "
     "keeps working and reports when it is back. The first SIGINT or SIGTERM lets running work end, the second gives it "
     "back at once.",
     "  shoal node --hub http://hub:7433 --name blue --slots 4 --labels ssd,room=2\n", node_options, cli_node},
    {"run", "FILE [ARG...]", 1, 1000, "run a program and print what it prints",
     "Runs a program on a node, in a sandbox, and prints what it prints; the exit code is 0 when it succeeded. The language is told "
     "by the file's name. Standard input is handed on when it is a pipe or a file. Words behind FILE are the program's "
     "arguments; those that begin with a dash stand behind \" -- \". Ctrl-C stops waiting, not the task.\n"
     "It is \"shoal submit FILE --wait\".",
     "  shoal run hello.py\n"
     "  echo 3 4 | shoal run sum.c --flag=-O2\n"
     "  shoal run words.py --file walden.txt walden.txt -- --top 5\n",
     submit_options, cli_submit},
    {"submit", "KIND | FILE [ARG...]", 1, 1000, "submit a task",
     "Submits a task and prints its id; with --wait, what comes out of it. A FILE with the name of a source file is a program "
     "for code.run, and so is any word with a slash in it; words behind it are its arguments. The exit code is 0 when the task "
     "(and, for code.run, its program) succeeded.\nFiles of up to 16 KiB of text travel inside the task, others as blobs.",
     "  shoal submit hello.py\n"
     "  shoal submit sum.c --flag=-O2 --stdin numbers.txt --wait\n"
     "  shoal submit code.run --input @task.json --queue night --delay 2h\n",
     submit_options, cli_submit},
    {"get", "ID", 1, 1, "show one task",
     "Shows a task, finished or not. With --wait it waits for the end, and the exit code tells how the task ended.",
     NULL, get_options, cli_get},
    {"ls", "", 0, 0, "list tasks", "Lists tasks, newest first.",
     "  shoal ls --state dead\n  shoal ls --state dead --error timeout --since 2h --oldest\n", ls_options, cli_ls},
    {"tail", "[ID]", 0, 1, "follow one task, or the newest tasks",
     "Prints state changes as they happen: of one task until its end, or of the newest 1000 tasks until Ctrl-C.", NULL,
     tail_options, cli_tail},
    {"cancel", "ID...", 1, 1000, "cancel tasks",
     "Cancels tasks that are not finished. One that runs is cancelled at once and its node is told to stop.", NULL,
     cancel_options, cli_cancel},
    {"retry", "ID...", 1, 1000, "run finished tasks again",
     "Puts dead, cancelled or expired tasks back into their queue. One that only history knows is submitted anew and has a "
     "new id.",
     NULL, client_options, cli_retry},
    {"rm", "ID...", 1, 1000, "delete finished tasks from history",
     "Deletes finished tasks for good. One that has just ended is still in memory and can be deleted a little later.",
     NULL, client_options, cli_rm},
    {"queues", "[pause|resume|add|rm] [NAME]", 0, 2, "list, pause, resume, add and forget queues",
     "Lists queues, or shows one. A paused queue takes tasks and hands none out. One without tasks in memory can be "
     "forgotten with its totals.",
     "  shoal queues\n  shoal queues add night\n  shoal queues pause night\n  shoal queues rm night\n", client_options,
     cli_queues},
    {"kinds", "[add|rm] [NAME]", 0, 2, "list, add and forget kinds of work",
     "Lists the kinds that are known. A kind that no task in memory has can be forgotten.",
     "  shoal kinds\n  shoal kinds add image.resize\n  shoal kinds rm image.resize\n", client_options, cli_kinds},
    {"nodes", "[drain|undrain|quiet|unquiet|rm] [NAME]", 0, 2, "list nodes, drain, quiet and forget them",
     "Lists nodes, or shows one in full. A node that drains finishes what it has and takes nothing new, and so does a "
     "quiet one.",
     "  shoal nodes\n  shoal nodes blue\n  shoal nodes drain blue\n", client_options, cli_nodes},
    {"stats", "", 0, 0, "show the hub's numbers", "Shows counters and gauges of the hub.", NULL, client_options,
     cli_stats},
    {"verify", "", 0, 0, "check a data directory",
     "Replays the journal of a hub that is not running, compares it with each snapshot and checks that nothing "
     "contradicts itself. Changes nothing.",
     "  shoal verify --data shoal-data/hub\n", verify_options, cli_verify},
    {"repair", "", 0, 0, "mend a damaged data directory",
     "Cuts a journal at its first damage, so that the hub can start with everything before it. What is cut off is kept "
     "beside it as a file that ends in .damaged. Look with --dry-run first.",
     NULL, repair_options, cli_repair},
    {"sim", "", 0, 0, "simulate hub, nodes, disk and network from a seed",
     "Runs the hub's own code with simulated nodes, clients, disk, network and clock in one thread, breaks what can break, and "
     "checks every promise after each step. The same seed gives the same history. One that fails prints the command "
     "that shows it again, made smaller.",
     "  shoal sim --seed 7 --steps 50000\n  shoal sim --seeds 200\n  shoal sim --time 1h --fault-rate 300\n",
     sim_options, cli_sim},
    {"bench", "VERB [WORD...]", 1, 1000, "load a hub, or any HTTP server, and judge what it does",
     "run FILE: runs a scenario (docs/bench.md), shows and writes a report. Exit code 0 when every gate is met, 3 when one is "
     "missed, 4 when the run says nothing about its target, 130 when it was interrupted.\n"
     "http URL: asks for one URL, by users (--connections) or at a rate (--rate).\n"
     "check FILE...: reads scenarios and says where a mistake is.\n"
     "list [FOLDER]: the scenarios of a folder.\n"
     "show RUN: what a report's folder says.\n"
     "metrics: the names that gates know.\n"
     "compare A B: of two scenarios, two programs with --scenario FILE, or one scenario with --a-set and --b-set: runs them in turn and "
     "says whether B is faster, slower, same or unstable, with a confidence interval. Of two reports' folders: compares their seconds.\n"
     "history [FOLDER]: all runs below it, and where a metric took another level.\n"
     "capacity FILE: looks for the rate that is just sustained, what happens at 1, 2 and 10 times of it, how soon it is over, and how "
     "throughput grows with users.\n"
     "verify: replays what published reports claim and says for each claim: met, missed, scaled, … (docs/claims.md). --quick takes "
     "about ten minutes, without it many hours.\n"
     "claims: what is claimed, and what would measure it.",
     "  shoal bench run bench/scenarios/steady.scenario\n"
     "  shoal bench run users.scenario --set users=500 --quick --out /tmp/run\n"
     "  shoal bench http http://127.0.0.1:8080/ --connections 50 --for 30s\n"
     "  shoal bench http http://127.0.0.1:8080/ --rate 2000 --json\n"
     "  shoal bench compare old/shoal new/shoal --scenario steady.scenario\n"
     "  shoal bench compare a.scenario a.scenario --a-set rate=200 --b-set rate=400\n"
     "  shoal bench capacity bench/scenarios/steady.scenario --quick\n"
     "  shoal bench verify --quick\n"
     "  shoal bench verify --only 'S0.05*'\n",
     bench_options, cli_bench},
    {"doctor", "", 0, 0, "check this machine",
     "Looks at what a hub and a node need: kernel, sandbox, languages, disk, port. Says what is missing and what to do about "
     "it.",
     NULL, doctor_options, cli_doctor},
    {"version", "", 0, 0, "print the version", "Prints the version.", NULL, plain_options, cli_version},
    {"help", "[COMMAND]", 0, 1, "explain a command",
     "Explains a command, or lists all of them. \"shoal help exit-codes\" lists the exit codes.", NULL, help_options,
     cli_help},
    {NULL, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL},
};
