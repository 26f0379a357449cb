/* doctor.c - shoal doctor: what this machine has and lacks for a hub and for a node, and what to do about it.
 *
 * Every check is a small function that says ok, warn or fail with one sentence, and with advice unless it is ok. A failure
 * means that a hub or a node would refuse to start; a warning, that something works less well. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/json.h"
#include "cli/daemon.h"
#include "node/facts.h"
#include "node/launchers.h"
#include "work/code/code_host.h"

#define SYNC_COUNT 32 /* enough for a median and a worst; 10 ms on a laptop disk */
#define SYNC_SIZE 4096

enum verdict { CHECK_OK, CHECK_WARN, CHECK_FAIL };
static const char *const verdict_names[] = {"ok", "warn", "fail"};

struct doctor {
    const struct cli *cli;
    struct buf out;
    bool has_failed, is_json;
    uint32_t counts[3];
};

/* `advice` is NULL when there is nothing to do. */
__attribute__((format(printf, 5, 6))) static void say(struct doctor *doctor, const char *check, enum verdict verdict,
                                                      const char *advice, const char *format, ...)
{
    struct buf text;
    buf_init(&text, 16384);
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    if (doctor->is_json) {
        bool is_first = doctor->counts[0] + doctor->counts[1] + doctor->counts[2] == 0;
        buf_printf(&doctor->out, "%s{\"check\":\"%s\",\"verdict\":\"%s\",\"text\":", is_first ? "" : ",", check,
                   verdict_names[verdict]);
        json_write_str(&doctor->out, buf_slice(&text));
        if (advice != NULL) {
            buf_append_str(&doctor->out, ",\"advice\":");
            json_write_str(&doctor->out, slice_str(advice));
        }
        buf_append_char(&doctor->out, '}');
    } else {
        struct buf line;
        buf_init(&line, 65536);
        buf_printf(&line, "%s%-4s%s  %-12s %.*s\n", cli_state_color(slice_str(verdict_names[verdict])),
                   verdict_names[verdict], PAINT_PLAIN, check, SLICE_ARG(buf_slice(&text)));
        if (advice != NULL) {
            buf_printf(&line, "                    → %s\n", advice);
        }
        doctor->has_failed |= cli_print(buf_slice(&line)) != STATUS_OK;
        buf_free(&line);
    }
    doctor->counts[verdict]++;
    buf_free(&text);
}

/* First line of a small file; false when it cannot be read. */
static bool read_line(const char *path, char *ret, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool has_line = fgets(ret, (int)size, file) != NULL;
    fclose(file);
    if (has_line) {
        ret[strcspn(ret, "\n")] = '\0';
    }
    return has_line;
}

/* Runs a program without a shell; its first line of output. False when it cannot be run or fails. */
static bool first_line_of(const char *const *argv, char *ret, size_t size)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return false;
    }
    pid_t pid = fork();
    if (pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return false;
    }
    if (pid == 0) {
        int null_fd = open("/dev/null", O_RDWR);
        dup2(null_fd, STDIN_FILENO);
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(fds[1]);
    size_t len = 0;
    char rest[512];
    for (;;) {
        ssize_t got = len + 1 < size ? read(fds[0], ret + len, size - 1 - len) : read(fds[0], rest, sizeof(rest));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        if (len + 1 < size) {
            len += (size_t)got;
        }
    }
    close(fds[0]);
    ret[len] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
    int wait_status;
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
}

static void check_machine(struct doctor *doctor)
{
    struct node_facts facts;
    facts_read(&facts);
    int major = 0, minor = 0;
    (void)sscanf(facts.kernel, "%d.%d", &major, &minor);
    bool is_old = major < 5 || (major == 5 && minor < 10);
    say(doctor, "system", is_old ? CHECK_WARN : CHECK_OK,
        is_old ? "Linux 5.10 or newer is what Shoal is tested with" : NULL, "%s, Linux %s, %s", facts.os, facts.kernel,
        facts.machine);
    say(doctor, "cpu", CHECK_OK, NULL, "%" PRIu32 " cores, %.1f usable, %s", facts.core_count, facts.cpu_milli / 1000.0,
        facts.cpu_model);
    bool is_small = facts.memory_mib < 512;
    say(doctor, "memory", is_small ? CHECK_WARN : CHECK_OK,
        is_small ? "a node that compiles C++ or Java needs more" : NULL, "%" PRIu32 " MiB", facts.memory_mib);
}

static void check_open_files(struct doctor *doctor)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    bool is_low = limit.rlim_max != RLIM_INFINITY && limit.rlim_max < 8192;
    say(doctor, "open files", is_low ? CHECK_WARN : CHECK_OK,
        is_low ? "raise it (ulimit -n, or LimitNOFILE= of the service) for more than a few thousand connections" : NULL,
        "up to %llu", (unsigned long long)limit.rlim_max);
}

#define NOBODY 65534

/* Makes a user namespace in a child, as a user without rights: a sandbox's slots are such users. 0, or the errno. */
static int try_namespace(void)
{
    pid_t pid = fork();
    if (pid < 0) {
        return errno;
    }
    if (pid == 0) {
        /* Where nobody is no user here (a container that maps few), this user has to do. */
        if (geteuid() == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0) {
            (void)!setresuid(NOBODY, NOBODY, NOBODY);
        }
        _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
    }
    int wait_status;
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : EPERM; /* a filter of system calls killed it */
}

/* Whether the root directory of this process is not that of the machine or container: the kernel then refuses. Process 1
 * has the latter; who may not look at it does not know. */
static bool is_in_chroot(void)
{
    struct stat own, first;
    return stat("/", &own) == 0 && stat("/proc/1/root", &first) == 0 &&
           (own.st_dev != first.st_dev || own.st_ino != first.st_ino);
}

static void check_namespaces(struct doctor *doctor)
{
    char line[64];
    if (read_line("/proc/sys/user/max_user_namespaces", line, sizeof(line)) && atoi(line) == 0) {
        say(doctor, "namespaces", CHECK_FAIL, "sysctl user.max_user_namespaces=10000",
            "user namespaces are switched off");
        return;
    }
    bool is_root = geteuid() == 0;
    if (!is_root && read_line("/proc/sys/kernel/unprivileged_userns_clone", line, sizeof(line)) && atoi(line) == 0) {
        say(doctor, "namespaces", CHECK_FAIL, "sysctl kernel.unprivileged_userns_clone=1, or run the node as root",
            "only root may make user namespaces");
        return;
    }
    if (!is_root && read_line("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", line, sizeof(line)) &&
        atoi(line) == 1) {
        say(doctor, "namespaces", CHECK_WARN,
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run the node as root",
            "AppArmor restricts user namespaces of programs without a profile");
        return;
    }
    int error = try_namespace();
    if (error == 0) {
        say(doctor, "namespaces", CHECK_OK, NULL, "user namespaces can be made");
        return;
    }
    say(doctor, "namespaces", CHECK_FAIL,
        is_in_chroot()
            ? "the kernel makes none in a chroot: use pivot_root, a container, or the machine itself"
            : "in a container, start it with --privileged or a seccomp profile that permits unshare; else ask who "
              "runs this machine",
        "user namespaces cannot be made: %s", strerror(error));
}

static void check_bubblewrap(struct doctor *doctor)
{
    static const char *const version_args[] = {"bwrap", "--version", NULL};
    static const char *const try_args[] = {"bwrap",
                                           "--unshare-user",
                                           "--unshare-pid",
                                           "--unshare-net",
                                           "--unshare-ipc",
                                           "--unshare-uts",
                                           "--die-with-parent",
                                           "--ro-bind",
                                           "/",
                                           "/",
                                           "--proc",
                                           "/proc",
                                           "true",
                                           NULL};
    char line[256], why[256];
    if (!first_line_of(version_args, line, sizeof(line))) {
        say(doctor, "bubblewrap", CHECK_FAIL, "apt-get install bubblewrap", "bwrap is not installed");
    } else if (!first_line_of(try_args, why, sizeof(why))) {
        say(doctor, "bubblewrap", CHECK_FAIL,
            "inside a container, start it with --privileged or with the seccomp and mount rights that bwrap names",
            "%s cannot make a sandbox: %s", line, why);
    } else {
        say(doctor, "bubblewrap", CHECK_OK, NULL, "%s makes sandboxes", line);
    }
}

static void check_limits(struct doctor *doctor)
{
    char line[512];
    if (read_line("/sys/fs/cgroup/cgroup.controllers", line, sizeof(line))) {
        bool has_both = strstr(line, "memory") != NULL && strstr(line, "pids") != NULL;
        bool can_write = access("/sys/fs/cgroup/cgroup.subtree_control", W_OK) == 0;
        bool is_ok = has_both && can_write;
        say(doctor, "cgroups", is_ok ? CHECK_OK : CHECK_WARN,
            is_ok ? NULL : "run the node as root, or as a service with Delegate=yes; else limits are held by polling",
            "version 2, controllers %s%s", *line != '\0' ? line : "none", can_write ? "" : ", not writable here");
    } else if (access("/sys/fs/cgroup/memory", F_OK) == 0) {
        bool can_write = access("/sys/fs/cgroup/memory", W_OK) == 0;
        say(doctor, "cgroups", can_write ? CHECK_OK : CHECK_WARN,
            can_write ? NULL : "run the node as root; else limits are held by polling", "version 1%s",
            can_write ? "" : ", not writable here");
    } else {
        say(doctor, "cgroups", CHECK_WARN, "mount cgroup2 at /sys/fs/cgroup; until then limits are held by polling",
            "there are none");
    }
    bool has_seccomp = read_line("/proc/sys/kernel/seccomp/actions_avail", line, sizeof(line));
    say(doctor, "seccomp", has_seccomp ? CHECK_OK : CHECK_FAIL,
        has_seccomp ? NULL : "a kernel with CONFIG_SECCOMP_FILTER is needed to run code.run", "%s",
        has_seccomp ? "system calls can be filtered" : "the kernel cannot filter system calls");
}

/* The programs that a sandbox here would run, which need not be those that the user's PATH finds first. */
static void check_languages(struct doctor *doctor)
{
    static const char *const packages[LANG_COUNT] = {[LANG_PYTHON] = "python3",
                                                     [LANG_JAVASCRIPT] = "nodejs",
                                                     [LANG_C] = "gcc",
                                                     [LANG_CPP] = "g++",
                                                     [LANG_JAVA] = "default-jdk-headless"};
    struct code_host host;
    code_host_look(&host);
    for (int i = 0; i < LANG_COUNT; i++) {
        const struct code_host_lang *lang = &host.langs[i];
        char line[160], advice[96];
        snprintf(advice, sizeof(advice), "apt-get install %s, to run %s", packages[i], code_langs[i].name);
        if (lang->why[0] != '\0') {
            say(doctor, code_langs[i].name, CHECK_WARN, advice, "%s", lang->why);
            continue;
        }
        const char *path = lang->compiler[0] != '\0' ? lang->compiler : lang->runtime;
        const char *const argv[] = {path, "--version", NULL};
        bool does_run = first_line_of(argv, line, sizeof(line));
        say(doctor, code_langs[i].name, does_run ? CHECK_OK : CHECK_WARN, does_run ? NULL : advice, "%s: %s", path,
            does_run ? line : "does not run");
    }
    code_host_close(&host);
}

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* How long the disk takes to make 4 KiB durable, as the journal does it. */
static void check_disk(struct doctor *doctor)
{
    const char *dir = cli_text(doctor->cli, "data");
    char path[4200], nearest[4100];
    /* The directory itself may not be there yet: then the one it will be made in. */
    if (!daemon_nearest_dir(dir, nearest, sizeof(nearest))) {
        dir = nearest;
    }
    snprintf(path, sizeof(path), "%s/.shoal-doctor-XXXXXX", dir);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        say(doctor, "disk", CHECK_FAIL, "choose another --data, or its rights",
            "the data directory %s cannot be %s: %s: %s", cli_text(doctor->cli, "data"),
            dir == nearest ? "made" : "written", dir, strerror(errno));
        return;
    }
    unlink(path);
    char block[SYNC_SIZE] = {0};
    int64_t took_ns[SYNC_COUNT];
    /* Written once before, so that only data is synced, as in a journal segment full of zeros. */
    bool is_ok = true;
    for (int i = 0; i < SYNC_COUNT && is_ok; i++) {
        is_ok = pwrite(fd, block, sizeof(block), (off_t)i * SYNC_SIZE) == SYNC_SIZE;
    }
    is_ok = is_ok && fsync(fd) == 0;
    for (int i = 0; i < SYNC_COUNT && is_ok; i++) {
        int64_t begun_ns = clock_mono_ns();
        memset(block, i + 1, sizeof(block));
        is_ok = pwrite(fd, block, sizeof(block), (off_t)i * SYNC_SIZE) == SYNC_SIZE && fdatasync(fd) == 0;
        took_ns[i] = clock_mono_ns() - begun_ns;
    }
    int error = errno;
    close(fd);
    if (!is_ok) {
        say(doctor, "disk", CHECK_FAIL, "choose another --data", "cannot write durably into %s: %s", dir,
            strerror(error));
        return;
    }
    qsort(took_ns, SYNC_COUNT, sizeof(took_ns[0]), compare_i64);
    int64_t median_ns = took_ns[SYNC_COUNT / 2];
    double median_ms = (double)median_ns / (double)NS_PER_MS;
    double worst_ms = (double)took_ns[SYNC_COUNT - 1] / (double)NS_PER_MS;
    bool is_slow = median_ms > 20;
    say(doctor, "disk", is_slow ? CHECK_WARN : CHECK_OK,
        is_slow ? "every answer waits for the disk; a disk with a quicker fsync makes the hub quicker" : NULL,
        "%s: 4 KiB durable in %.2f ms (median), %.2f ms (worst of %d)", dir, median_ms, worst_ms, SYNC_COUNT);
}

static void check_port(struct doctor *doctor)
{
    const char *listen_text = cli_text(doctor->cli, "listen");
    const char *colon = strrchr(listen_text, ':');
    char host[256];
    snprintf(host, sizeof(host), "%.*s", colon != NULL ? (int)(colon - listen_text) : 0, listen_text);
    if (host[0] == '[') {
        memmove(host, host + 1, strlen(host));
        host[strcspn(host, "]")] = '\0';
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    int error = getaddrinfo(host[0] != '\0' ? host : NULL, colon != NULL ? colon + 1 : listen_text, &hints, &list);
    if (error != 0) {
        say(doctor, "port", CHECK_FAIL, "--listen is HOST:PORT", "%s: %s", listen_text, gai_strerror(error));
        return;
    }
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    }
    bool is_free = fd >= 0 && bind(fd, list->ai_addr, list->ai_addrlen) == 0 && listen(fd, 1) == 0;
    error = errno;
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(list);
    say(doctor, "port", is_free ? CHECK_OK : CHECK_WARN,
        is_free ? NULL : "a hub may be running already (shoal stats tells); else choose another --listen", "%s %s%s",
        listen_text, is_free ? "is free" : "cannot be listened on: ", is_free ? "" : strerror(error));
}

static int remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return unlink(path);
    }
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        char inner[4200];
        snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR) {
            (void)remove_tree(inner);
        } else {
            unlink(inner);
        }
    }
    closedir(dir);
    return rmdir(path);
}

/* Lets each kind prove itself, as a node does at its start. */
static void check_kinds(struct doctor *doctor)
{
    char dir[] = "/tmp/shoal-doctor-XXXXXX";
    struct loop loop;
    if (mkdtemp(dir) == NULL || loop_init(&loop) != STATUS_OK) {
        return;
    }
    const struct node_env env = {.loop = &loop, .data_dir = dir, .hub_url = CLI_HUB_DEFAULT, .slots = 1};
    for (size_t i = 0; launchers[i] != NULL; i++) {
        if (!launcher_is_default(launchers[i])) {
            continue;
        }
        struct buf facts, why;
        buf_init(&facts, 65536);
        buf_init(&why, 4096);
        void *state = NULL;
        int64_t begun_ns = clock_mono_ns();
        enum status status = launchers[i]->open(&env, &state, &facts, &why);
        if (status == STATUS_OK) {
            say(doctor, launchers[i]->kind, CHECK_OK, NULL, "a node here can offer it (proved in %" PRId64 " ms)",
                (clock_mono_ns() - begun_ns) / NS_PER_MS);
            launchers[i]->close(state);
        } else {
            say(doctor, launchers[i]->kind, CHECK_FAIL, "the lines above say what is missing",
                "a node here cannot offer it: %s", buf_cstr(&why));
        }
        buf_free(&facts);
        buf_free(&why);
    }
    loop_stop(&loop);
    loop_run(&loop);
    loop_free(&loop);
    (void)remove_tree(dir);
}

enum status cli_doctor(struct cli *cli)
{
    struct doctor doctor = {.cli = cli, .is_json = cli_flag(cli, "json")};
    buf_init(&doctor.out, 1u << 20);
    check_machine(&doctor);
    check_open_files(&doctor);
    check_disk(&doctor);
    check_port(&doctor);
    check_namespaces(&doctor);
    check_bubblewrap(&doctor);
    check_limits(&doctor);
    check_languages(&doctor);
    if (!cli_flag(cli, "quick")) {
        check_kinds(&doctor);
    }
    bool is_well = doctor.counts[CHECK_FAIL] == 0;
    enum status status = STATUS_OK;
    if (doctor.is_json) {
        struct buf all;
        buf_init(&all, 2u << 20);
        buf_printf(&all, "{\"ok\":%s,\"checks\":[", is_well ? "true" : "false");
        buf_append_slice(&all, buf_slice(&doctor.out));
        buf_append_str(&all, "]}\n");
        status = cli_print(buf_slice(&all));
        buf_free(&all);
    } else {
        buf_reset(&doctor.out);
        buf_printf(&doctor.out, "\n%" PRIu32 " ok, %" PRIu32 " to look at, %" PRIu32 " missing.\n",
                   doctor.counts[CHECK_OK], doctor.counts[CHECK_WARN], doctor.counts[CHECK_FAIL]);
        status = cli_print(buf_slice(&doctor.out));
        status = doctor.has_failed ? STATUS_IO : status;
    }
    buf_free(&doctor.out);
    return status != STATUS_OK ? status : is_well ? STATUS_OK : STATUS_UNSUPPORTED_HOST;
}
