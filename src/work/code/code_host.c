/* code_host.c - which languages this machine can offer, and the command lines they are used with.
 *
 * A runtime is offered when it answers its version from inside a sandbox: that proves the binary, its libraries and
 * the filter at once. Runtimes outside of /usr are shown read-only by their installation's directory, unless that
 * lies in somebody's home.
 *
 * C and C++: the linker writes to /proc/self/fd/9, a memory file of the supervisor's. Java: CompileToJar.java keeps the
 * classes in memory and writes one archive there. It compiles itself at the first start of a node. */
#include "work/code/code_host.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/json.h"
#include "work/code/code_input.h"
#include "work/sandbox/memfile.h"

extern const char code_java_tool_source[];
extern const char code_unbuffer_image[];
extern const size_t code_unbuffer_image_size;
extern const size_t code_java_tool_source_size;

#define CACHE_FORMAT "code.run/2" /* part of every key: change it when the command lines change */
#define OUT_PATH "/proc/self/fd/9"
static_assert(SANDBOX_OUT_FD == 9, "OUT_PATH names it");

/* --- a run that is waited for; at start only ------------------------------------------------------------------- */

struct waited {
    bool is_done;
    enum sandbox_end end;
    int exit_code;
    char text[512]; /* beginning of stdout, else of stderr, else the fault */
};

static void waited_done(void *ctx, const struct sandbox_result *result)
{
    struct waited *waited = ctx;
    struct slice text = result->out.len > 0   ? result->out
                        : result->err.len > 0 ? result->err
                                              : slice_str(result->fault);
    waited->is_done = true;
    waited->end = result->end;
    waited->exit_code = result->exit_code;
    snprintf(waited->text, sizeof(waited->text), "%.*s", (int)(text.len < 500 ? text.len : 500), text.data);
}

static bool run_and_wait(struct sandbox_host *sandbox, uv_loop_t *loop, const struct sandbox_spec *spec,
                         struct waited *ret_waited)
{
    struct sandbox_run *run;
    *ret_waited = (struct waited){0};
    if (sandbox_start(sandbox, spec, waited_done, ret_waited, &run) != STATUS_OK) {
        snprintf(ret_waited->text, sizeof(ret_waited->text), "a sandbox cannot be started: %s", strerror(errno));
        return false;
    }
    while (!ret_waited->is_done) {
        uv_run(loop, UV_RUN_ONCE);
    }
    return ret_waited->end == SANDBOX_EXITED && ret_waited->exit_code == 0;
}

static const struct sandbox_limits start_limits = {
    .cpu_ms = 20000, .wall_ms = 40000, .mem_mib = 1024, .procs = 64, .out_kib = 64, .fs_mib = 64};

/* --- finding the programs -------------------------------------------------------------------------------------- */

static bool is_private(const char *path)
{
    static const char *const homes[] = {"/root", "/home", "/tmp", "/var", "/proc", "/run"};
    for (size_t i = 0; i < ARRAY_COUNT(homes); i++) {
        if (strncmp(path, homes[i], strlen(homes[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* "/opt/node/bin/node" to "/opt/node"; false when that would show too much. */
static bool prefix_of(const char *path, char *ret_prefix, size_t size)
{
    snprintf(ret_prefix, size, "%s", path);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(ret_prefix, '/');
        if (slash == NULL || slash == ret_prefix) {
            return false;
        }
        *slash = 0;
    }
    return strchr(ret_prefix + 1, '/') != NULL && !is_private(ret_prefix);
}

/* In the system's own directories first: these are in every sandbox. */
static bool program_find(struct code_host_lang *lang, const char *name, char *ret_path, size_t size)
{
    static const char *const dirs[] = {"/usr/bin", "/usr/local/bin"};
    char real[4096], prefix[4096];
    for (size_t i = 0; i < ARRAY_COUNT(dirs); i++) {
        snprintf(ret_path, size, "%s/%s", dirs[i], name);
        if (access(ret_path, X_OK) == 0 && realpath(ret_path, real) != NULL && strncmp(real, "/usr/", 5) == 0) {
            return true;
        }
    }
    const char *path = getenv("PATH");
    char *copy = path != NULL ? strdup(path) : NULL, *rest = NULL;
    bool is_found = false;
    for (char *dir = copy != NULL ? strtok_r(copy, ":", &rest) : NULL; dir != NULL && !is_found;
         dir = strtok_r(NULL, ":", &rest)) {
        char candidate[4096];
        snprintf(candidate, sizeof(candidate), "%s/%s", dir, name);
        if (access(candidate, X_OK) != 0 || realpath(candidate, real) == NULL || strlen(real) >= size ||
            !prefix_of(real, prefix, sizeof(prefix))) {
            continue;
        }
        for (size_t i = 0; i < CODE_BINDS_MAX && !is_found; i++) {
            if (lang->binds[i] == NULL || strcmp(lang->binds[i], prefix) == 0) {
                if (lang->binds[i] == NULL) {
                    lang->binds[i] = strdup(prefix);
                }
                is_found = lang->binds[i] != NULL;
            }
        }
        if (is_found) {
            memcpy(ret_path, real, strlen(real) + 1);
        }
    }
    free(copy);
    return is_found;
}

/* The first word of the text that begins with a digit, also after a "v". */
static void version_take(const char *text, char *ret_version, size_t size)
{
    for (const char *at = text; *at != 0; at++) {
        if (at > text && at[-1] != ' ' && at[-1] != 'v' && at[-1] != '\n') {
            continue;
        }
        size_t len = strspn(at, "0123456789.");
        if (len == 0 || *at == '.') {
            continue;
        }
        snprintf(ret_version, size, "%.*s", (int)(len < size - 1 ? len : size - 1), at);
        return;
    }
    snprintf(ret_version, size, "?");
}

/* Fills the paths, or why there are none. */
static bool lang_find(struct code_host_lang *lang, const struct code_lang_info *info)
{
    if ((info->runtime == NULL || program_find(lang, info->runtime, lang->runtime, sizeof(lang->runtime))) &&
        (info->compiler == NULL || program_find(lang, info->compiler, lang->compiler, sizeof(lang->compiler)))) {
        return true;
    }
    snprintf(lang->why, sizeof(lang->why), "%s is not installed where a sandbox may see it",
             info->compiler != NULL && lang->runtime[0] != 0 ? info->compiler
             : info->runtime != NULL                         ? info->runtime
                                                             : info->compiler);
    return false;
}

static bool lang_probe(struct code_host_lang *lang, const struct code_lang_info *info, struct sandbox_host *sandbox,
                       uv_loop_t *loop)
{
    if (!lang_find(lang, info)) {
        return false;
    }
    const char *argv[] = {info->compiler != NULL && info->runtime == NULL ? lang->compiler : lang->runtime,
                          info->version_option, NULL};
    struct sandbox_spec spec = {
        .argv = argv, .binds = lang->binds, .stdin_fd = -1, .out_fd = -1, .limits = start_limits};
    struct waited waited;
    if (!run_and_wait(sandbox, loop, &spec, &waited)) {
        snprintf(lang->why, sizeof(lang->why), "%s does not run in a sandbox: %.100s", argv[0], waited.text);
        return false;
    }
    version_take(waited.text, lang->version, sizeof(lang->version));
    return true;
}

/* --- Java's helper --------------------------------------------------------------------------------------------- */

static void java_tool_key(const struct code_host_lang *lang, char ret_key[SHA256_HEX_SIZE])
{
    struct buf text;
    uint8_t digest[SHA256_SIZE];
    buf_init(&text, 1 << 20);
    buf_printf(&text, "java-tool\n%s\n%s\n", lang->version, lang->runtime);
    buf_append(&text, code_java_tool_source, code_java_tool_source_size);
    sha256(buf_slice(&text), digest);
    hex_encode(digest, sizeof(digest), ret_key);
    buf_free(&text);
}

/* Lets the helper compile itself, by java's way of running a single source file. */
static bool java_tool_make(struct code_host *host, struct sandbox_host *sandbox, uv_loop_t *loop,
                           struct code_store *store)
{
    struct code_host_lang *lang = &host->langs[LANG_JAVA];
    char key[SHA256_HEX_SIZE];
    java_tool_key(lang, key);
    if (code_store_get(store, key, &host->java_tool_fd) == STATUS_OK) {
        return true;
    }
    int source = memfile_of("source", slice_of(code_java_tool_source, code_java_tool_source_size));
    int jar = memfile_new("jar");
    bool is_ok = false;
    if (source >= 0 && jar >= 0) {
        const char *argv[] = {lang->runtime,
                              "-XX:+UseSerialGC",
                              "-XX:TieredStopAtLevel=1",
                              "-XX:-UsePerfData",
                              "CompileToJar.java",
                              OUT_PATH,
                              "--",
                              "CompileToJar.java",
                              NULL};
        struct sandbox_file file = {.path = SANDBOX_WORK_DIR "/CompileToJar.java", .fd = source};
        struct sandbox_spec spec = {.argv = argv,
                                    .binds = lang->binds,
                                    .files = &file,
                                    .file_count = 1,
                                    .stdin_fd = -1,
                                    .out_fd = jar,
                                    .limits = start_limits};
        struct waited waited;
        is_ok = run_and_wait(sandbox, loop, &spec, &waited) && memfile_seal(jar);
        if (!is_ok) {
            snprintf(lang->why, sizeof(lang->why), "the Java compiler does not run in a sandbox: %.150s", waited.text);
        }
    }
    if (source >= 0) {
        close(source);
    }
    if (is_ok) {
        code_store_put(store, key, jar);
        host->java_tool_fd = jar;
    } else if (jar >= 0) {
        close(jar);
    }
    return is_ok;
}

enum status code_host_open(struct code_host *host, struct sandbox_host *sandbox, uv_loop_t *loop,
                           struct code_store *store, struct buf *ret_why)
{
    *host = (struct code_host){.java_tool_fd = -1, .unbuffer_fd = -1};
    size_t offered = 0;
    host->unbuffer_fd = memfile_of("unbuffer", slice_of(code_unbuffer_image, code_unbuffer_image_size));
    if (host->unbuffer_fd < 0) {
        buf_printf(ret_why, "memory files cannot be made: %s", strerror(errno));
        return STATUS_UNSUPPORTED_HOST;
    }
    for (int i = 0; i < LANG_COUNT; i++) {
        host->langs[i].is_offered = lang_probe(&host->langs[i], &code_langs[i], sandbox, loop) &&
                                    (i != LANG_JAVA || java_tool_make(host, sandbox, loop, store));
        offered += host->langs[i].is_offered;
    }
    if (offered > 0) {
        return STATUS_OK;
    }
    buf_append_str(ret_why, "no language can be offered:");
    for (int i = 0; i < LANG_COUNT; i++) {
        buf_printf(ret_why, " %s;", host->langs[i].why);
    }
    code_host_close(host);
    return STATUS_UNSUPPORTED_HOST;
}

void code_host_look(struct code_host *host)
{
    *host = (struct code_host){.java_tool_fd = -1, .unbuffer_fd = -1};
    for (int i = 0; i < LANG_COUNT; i++) {
        (void)lang_find(&host->langs[i], &code_langs[i]);
    }
}

void code_host_close(struct code_host *host)
{
    for (int i = 0; i < LANG_COUNT; i++) {
        for (size_t j = 0; j < CODE_BINDS_MAX; j++) {
            free((char *)(uintptr_t)host->langs[i].binds[j]);
        }
    }
    if (host->java_tool_fd >= 0) {
        close(host->java_tool_fd);
    }
    if (host->unbuffer_fd >= 0) {
        close(host->unbuffer_fd);
    }
    *host = (struct code_host){.java_tool_fd = -1, .unbuffer_fd = -1};
}

void code_host_facts(const struct code_host *host, struct buf *out)
{
    const char *comma = "";
    buf_append_char(out, '{');
    for (int i = 0; i < LANG_COUNT; i++) {
        if (!host->langs[i].is_offered) {
            continue;
        }
        buf_printf(out, "%s\"%s\":", comma, code_langs[i].name);
        json_write_str(out, slice_str(host->langs[i].version));
        comma = ",";
    }
    buf_append_char(out, '}');
}

/* --- what compiling depends on ----------------------------------------------------------------------------------- */

static void key_part(struct sha256 *sha, struct slice part)
{
    uint64_t len = part.len;
    sha256_update(sha, &len, sizeof(len));
    if (part.len > 0) {
        sha256_update(sha, part.data, part.len);
    }
}

bool code_compile_key(const struct code_host *host, const struct code_input *input, const char *scope,
                      char ret_key[SHA256_HEX_SIZE])
{
    const struct code_host_lang *lang = &host->langs[input->lang];
    struct sha256 *sha = sha256_new();
    if (sha == NULL) {
        return false;
    }
    key_part(sha, SLICE(CACHE_FORMAT));
    key_part(sha, slice_str(scope));
    key_part(sha, slice_str(code_langs[input->lang].name));
    key_part(sha, slice_str(lang->version));
    key_part(sha, slice_str(lang->compiler));
    for (size_t i = 0; i < input->flag_count; i++) {
        if (input->flag_uses[i] != FLAG_RUN) {
            key_part(sha, slice_str(input->flags[i]));
        }
    }
    for (size_t i = 0; i < input->file_count; i++) {
        const struct code_file *file = &input->files[i];
        char hex[SHA256_HEX_SIZE];
        uint8_t digest[SHA256_SIZE];
        if (file->text != NULL) {
            sha256(slice_of(file->text, file->text_len), digest);
            hex_encode(digest, sizeof(digest), hex);
        } else {
            memcpy(hex, file->blob, sizeof(hex));
        }
        key_part(sha, slice_str(file->path));
        key_part(sha, slice_str(hex));
    }
    uint8_t digest[SHA256_SIZE];
    sha256_final(sha, digest);
    sha256_free(sha);
    hex_encode(digest, sizeof(digest), ret_key);
    return true;
}

/* --- command lines --------------------------------------------------------------------------------------------- */

static void add(struct code_command *command, const char *word)
{
    ensure(command->count + 1 < CODE_ARGV_MAX); /* files, flags and args have their maxima: about 360 in all */
    command->argv[command->count++] = word;
    command->argv[command->count] = NULL;
}
static_assert(CODE_ARGV_MAX > CODE_FILES_MAX + CODE_ARGS_MAX + CODE_FLAGS_MAX + 32, "all fits");

static void add_flags(struct code_command *command, const struct code_input *input, enum code_flag_use use)
{
    for (size_t i = 0; i < input->flag_count; i++) {
        if (input->flag_uses[i] == use) {
            add(command, input->flags[i]);
        }
    }
}

void code_command_compile(const struct code_host *host, const struct code_input *input,
                          struct code_command *ret_command)
{
    const struct code_host_lang *lang = &host->langs[input->lang];
    *ret_command = (struct code_command){0};
    if (input->lang == LANG_JAVA) {
        static const char *const words[] = {"-XX:+UseSerialGC",
                                            "-XX:TieredStopAtLevel=1",
                                            "-XX:-UsePerfData",
                                            "-Xmx768m",
                                            "-cp",
                                            CODE_JAVA_TOOL_PATH,
                                            "CompileToJar",
                                            OUT_PATH};
        add(ret_command, lang->runtime);
        for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
            add(ret_command, words[i]);
        }
        add_flags(ret_command, input, FLAG_COMPILE);
        add(ret_command, "--");
    } else {
        add(ret_command, lang->compiler);
        add(ret_command, "-O2"); /* a later one of the task's wins */
        add(ret_command, "-o");
        add(ret_command, OUT_PATH);
        add_flags(ret_command, input, FLAG_COMPILE);
    }
    for (size_t i = 0; i < input->file_count; i++) {
        if (code_is_source(input->lang, slice_str(input->files[i].path))) {
            add(ret_command, input->files[i].path);
        }
    }
    add_flags(ret_command, input, FLAG_LINK);
    if (input->lang != LANG_JAVA) {
        add(ret_command, "-lm");
    }
}

void code_command_run(const struct code_host *host, const struct code_input *input, struct code_command *ret_command)
{
    const struct code_host_lang *lang = &host->langs[input->lang];
    struct code_command *command = ret_command;
    *command = (struct code_command){0};
    unsigned mem_mib = input->limits.mem_mib;
    /* a runtime with a limit of its own for the stack gets one that grows with the memory, as the others' does; a quarter,
     * for what overruns it is to be told by the runtime and not by the box. 1 GiB is the JVM's most */
    unsigned stack_mib = mem_mib / 4 < 1024 ? mem_mib / 4 : 1024;
    switch (input->lang) {
    case LANG_PYTHON:
        add(command, lang->runtime);
        add(command, "-B");
        add_flags(command, input, FLAG_RUN);
        add(command, input->files[input->entry].path);
        break;
    case LANG_JAVASCRIPT:
        /* the heap may grow to the limit of the box, so that it is the box that says when memory is out */
        snprintf(command->texts[0], sizeof(command->texts[0]), "--max-old-space-size=%u", mem_mib);
        snprintf(command->texts[1], sizeof(command->texts[1]), "--stack-size=%u", stack_mib * 1024);
        add(command, lang->runtime);
        add(command, command->texts[0]);
        add(command, command->texts[1]);
        add_flags(command, input, FLAG_RUN);
        add(command, input->files[input->entry].path);
        break;
    case LANG_JAVA:
        snprintf(command->texts[0], sizeof(command->texts[0]), "-Xmx%um", mem_mib);
        snprintf(command->texts[1], sizeof(command->texts[1]), "-Xss%um", stack_mib);
        add(command, lang->runtime);
        add(command, "-XX:+UseSerialGC");
        add(command, "-XX:-UsePerfData");
        add(command, command->texts[0]);
        add(command, command->texts[1]);
        add_flags(command, input, FLAG_RUN);
        add(command, "-cp");
        add(command, CODE_PROGRAM_PATH);
        if (!code_java_class(slice_str(input->files[input->entry].path), command->class_name,
                             sizeof(command->class_name))) {
            ensure(!"entry was checked when the input was read");
        }
        add(command, command->class_name);
        break;
    default:
        add(command, CODE_PROGRAM_PATH);
        break;
    }
    for (size_t i = 0; i < input->arg_count; i++) {
        add(command, input->args[i]);
    }
    if (input->is_unbuffered) { /* each for its own: a program may start others */
        command->env[0] = "PYTHONUNBUFFERED=1";
        command->env[1] = "LD_PRELOAD=" CODE_UNBUFFER_PATH;
    }
}
