/* submit.c - shoal submit: a task from files, options or JSON; with --wait its result.
 *
 * For code.run the input is put together from --file, --lang, --stdin, --arg and so on: small text files travel inside the
 * task, the others as blobs. It is read here as the node will read it, so that what a node would refuse never leaves, and
 * blobs go up after that. Nothing else here knows a kind. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "cli/task_text.h"
#include "hub/fields.h"
#include "work/code/code_input.h"
#include "work/sandbox/memfile.h"

/* A file up to this size travels inside the task if it is text, as long as all of them leave room in the input. */
#define INLINE_FILE_SIZE_MAX 16384
#define STDIN_PATIENCE_MS 1500 /* then somebody who did not know is told what is waited for */
#define INLINE_TOTAL_SIZE_MAX (LIMIT_INPUT_SIZE - 8192)

static bool is_run(const struct cli *cli)
{
    return strcmp(cli->command->name, "run") == 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Reads a whole file, "-" for standard input. Says what is wrong. */
static enum status read_file(const struct cli *cli, const char *path, struct buf *out)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cli_fail(cli, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "cannot read %s: %s", path,
                        strerror(errno));
    }
    enum status status = STATUS_OK;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (is_stdin && poll(&readable, 1, STDIN_PATIENCE_MS) == 0) {
        cli_say("shoal %s: reading the input from standard input; Ctrl-D ends it, --stdin /dev/null gives none.\n",
                cli->command->name);
    }
    for (;;) {
        if (buf_reserve(out, 65536) != STATUS_OK) {
            status = cli_fail(cli, STATUS_TOO_LARGE, "%s is larger than %zu bytes", is_stdin ? "the input" : path,
                              out->max - 65536);
            break;
        }
        ssize_t got = read(fd, out->data + out->len, 65536);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            status = cli_fail(cli, STATUS_IO, "cannot read %s: %s", path, strerror(errno));
        }
        if (got <= 0) {
            break;
        }
        out->len += (size_t)got;
    }
    if (!is_stdin) {
        close(fd);
    }
    return status;
}

/* --- the input of code.run --- */

static bool is_source_name(const char *name)
{
    bool is_source = false;
    for (int lang = 0; lang < LANG_COUNT; lang++) {
        is_source |= code_is_source((enum code_lang)lang, slice_str(name));
    }
    return is_source;
}

/* The word that names a program instead of a kind: that of `shoal run`; of `shoal submit` one with a slash or with the name of a
 * source file. NULL: there is none. */
static const char *source_word(const struct cli *cli)
{
    const char *word = cli->args[0];
    bool is_program = is_run(cli) || strchr(word, '/') != NULL || (is_source_name(word) && !cli_is_given(cli, "input"));
    return is_program ? word : NULL;
}

static const char *task_kind(const struct cli *cli)
{
    return source_word(cli) != NULL ? "code.run" : cli->args[0];
}

#define BLOB_NAME_SIZE (sizeof("sha256:") - 1 + SHA256_HEX_SIZE - 1)

/* A file that goes up as a blob once everything is found in order; until then 64 zeros stand for its digest. */
struct upload {
    char path[4096];
    size_t at; /* offset of "sha256:…" in the input */
    int fd;    /* what was read from a pipe, owned; -1: open the path */
};

struct code_parts {
    const struct cli *cli;
    const char *source; /* the word that names the program, or NULL: then --file does */
    struct buf *out;
    size_t inline_size;
    char entry[256]; /* name of the first source file */
    const char *lang;
    struct upload uploads[CODE_FILES_MAX + 1]; /* the files and stdin */
    size_t upload_count, file_count;
};

static enum status upload(const struct cli *cli, struct client *client, const struct upload *what, char *ret_name)
{
    const char *path = what->path;
    int fd = what->fd >= 0 ? what->fd : open(path, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    if (fd < 0 || fstat(fd, &facts) != 0) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        return cli_fail(cli, STATUS_IO, "cannot read %s: %s", path, strerror(error));
    }
    char blob[CLIENT_BLOB_SIZE];
    enum status status = client_upload(client, fd, (uint64_t)facts.st_size, blob);
    close(fd);
    if (status == STATUS_OK && strlen(blob) != BLOB_NAME_SIZE) {
        return cli_fail(cli, STATUS_INTERNAL, "the hub calls the blob of %s \"%s\", which is no name for one", path,
                        blob);
    }
    if (status == STATUS_OK) {
        memcpy(ret_name, blob, BLOB_NAME_SIZE);
    }
    return status;
}

/* Guesses language and entry from the first file that looks like a source. */
static void learn_from_name(struct code_parts *parts, const char *name)
{
    for (int lang = 0; lang < LANG_COUNT; lang++) {
        if (!code_is_source((enum code_lang)lang, slice_str(name))) {
            continue;
        }
        if (parts->lang == NULL) {
            parts->lang = code_langs[lang].name;
        }
        if (parts->entry[0] == '\0' && strcmp(parts->lang, code_langs[lang].name) == 0) {
            snprintf(parts->entry, sizeof(parts->entry), "%s", name);
        }
        return;
    }
}

static enum status add_file(struct code_parts *parts, const char *spec)
{
    if (parts->file_count++ == CODE_FILES_MAX) {
        return cli_fail(parts->cli, STATUS_USAGE, "a task has at most %d files; --file \"%s\" is one more",
                        CODE_FILES_MAX, spec);
    }
    const char *equals = strchr(spec, '=');
    char path[4096];
    snprintf(path, sizeof(path), "%.*s", equals != NULL ? (int)(equals - spec) : (int)strlen(spec), spec);
    const char *name = equals != NULL ? equals + 1 : base_name(path);
    struct stat facts;
    if (stat(path, &facts) != 0) {
        return cli_fail(parts->cli, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "cannot read %s: %s", path,
                        strerror(errno));
    }
    if (!S_ISREG(facts.st_mode)) {
        return cli_fail(parts->cli, STATUS_INVALID, "%s is not a file", path);
    }
    learn_from_name(parts, name);
    buf_append_str(parts->out, "{\"path\":");
    json_write_str(parts->out, slice_str(name));
    if (facts.st_size <= INLINE_FILE_SIZE_MAX) {
        struct buf text;
        buf_init(&text, INLINE_FILE_SIZE_MAX + 2 * 65536);
        enum status status = read_file(parts->cli, path, &text);
        if (status != STATUS_OK) {
            buf_free(&text);
            return status;
        }
        size_t before = parts->out->len;
        if (utf8_is_valid(buf_slice(&text))) {
            buf_append_str(parts->out, ",\"text\":");
            json_write_str(parts->out, buf_slice(&text));
            size_t grown = parts->out->len - before;
            if (parts->inline_size + grown <= INLINE_TOTAL_SIZE_MAX) {
                parts->inline_size += grown;
                buf_append_char(parts->out, '}');
                buf_free(&text);
                return STATUS_OK;
            }
            parts->out->len = before;
        }
        buf_free(&text);
    }
    buf_append_str(parts->out, ",\"blob\":\"");
    struct upload *later = &parts->uploads[parts->upload_count++];
    later->at = parts->out->len;
    later->fd = -1;
    snprintf(later->path, sizeof(later->path), "%s", path);
    buf_printf(parts->out, "sha256:%064d\"}", 0);
    return STATUS_OK;
}

/* Copies what a pipe brings to a file without a name; `begin` was read before. */
static enum status spool(const struct cli *cli, int from, struct slice begin, int *ret_fd)
{
    const char *dir = getenv("TMPDIR");
    char path[4096], piece[65536];
    snprintf(path, sizeof(path), "%s/shoal-stdin.XXXXXX", dir != NULL && *dir != '\0' ? dir : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        return cli_fail(cli, STATUS_IO, "cannot make a file for the input in %s: %s", path, strerror(errno));
    }
    unlink(path);
    bool is_ok = memfile_write(fd, begin);
    ssize_t got = 1;
    while (is_ok && got > 0) {
        got = read(from, piece, sizeof(piece));
        if (got < 0 && errno == EINTR) {
            got = 1;
        } else if (got != 0) {
            is_ok = got > 0 && memfile_write(fd, slice_of(piece, (size_t)got));
        }
    }
    if (!is_ok || lseek(fd, 0, SEEK_SET) != 0) {
        int error = errno;
        close(fd);
        return cli_fail(cli, STATUS_IO, "cannot keep the input: %s", strerror(error));
    }
    *ret_fd = fd;
    return STATUS_OK;
}

/* Reads up to one byte more than goes inline. False with errno. */
static bool read_head(int fd, struct buf *out)
{
    size_t most = INLINE_FILE_SIZE_MAX + 1;
    if (buf_reserve(out, most) != STATUS_OK) {
        return false;
    }
    for (ssize_t got = 1; got != 0 && out->len < most;) {
        got = read(fd, out->data + out->len, most - out->len);
        if (got < 0 && errno != EINTR) {
            return false;
        }
        out->len += got > 0 ? (size_t)got : 0;
    }
    return true;
}

/* Standard input of the program: a short text inside the task, else a blob, of any bytes and any size. */
static enum status add_stdin(struct code_parts *parts, const char *path)
{
    struct buf head;
    struct stat facts;
    bool is_pipe = strcmp(path, "-") == 0;
    int fd = is_pipe ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    buf_init(&head, 2 * INLINE_FILE_SIZE_MAX);
    if (fd < 0 || !read_head(fd, &head)) {
        return cli_fail(parts->cli, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "cannot read %s: %s", path,
                        strerror(errno));
    }
    enum status status = STATUS_OK;
    size_t before = parts->out->len;
    bool is_inline = head.len <= INLINE_FILE_SIZE_MAX && utf8_is_valid(buf_slice(&head));
    if (is_inline) {
        buf_append_str(parts->out, ",\"stdin\":");
        json_write_str(parts->out, buf_slice(&head));
        is_inline = parts->inline_size + (parts->out->len - before) <= INLINE_TOTAL_SIZE_MAX;
    }
    if (!is_inline) {
        parts->out->len = before;
        struct upload *later = &parts->uploads[parts->upload_count++];
        later->fd = -1;
        snprintf(later->path, sizeof(later->path), "%s", is_pipe ? "the input" : path);
        if (is_pipe || fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
            status = spool(parts->cli, fd, buf_slice(&head), &later->fd);
        }
        buf_append_str(parts->out, ",\"stdin\":{\"blob\":\"");
        later->at = parts->out->len;
        buf_printf(parts->out, "sha256:%064d\"}", 0);
    }
    if (!is_pipe) {
        close(fd);
    }
    buf_free(&head);
    return status;
}

/* The words of a LIST, and those of the command line from `from` on. */
static void add_words(struct buf *out, const struct cli *cli, const char *option, const char *member, int from)
{
    int at = 0;
    const char *word;
    bool is_first = true;
    while ((word = cli_list_next(cli, option, &at)) != NULL ||
           (word = from < cli->arg_count ? cli->args[from++] : NULL) != NULL) {
        buf_printf(out, is_first ? ",\"%s\":[" : ",", member);
        json_write_str(out, slice_str(word));
        is_first = false;
    }
    if (!is_first) {
        buf_append_char(out, ']');
    }
}

static enum status add_limits(struct code_parts *parts)
{
    int at = 0;
    const char *word;
    bool is_first = true;
    while ((word = cli_list_next(parts->cli, "limit", &at)) != NULL) {
        const char *equals = strchr(word, '=');
        size_t name_len = equals != NULL ? (size_t)(equals - word) : 0;
        if (name_len == 0 || equals[1] == '\0' || strspn(equals + 1, "0123456789") != strlen(equals + 1)) {
            return cli_fail(parts->cli, STATUS_USAGE, "--limit must be NAME=NUMBER such as cpu_ms=2000, not \"%s\"",
                            word);
        }
        buf_append_str(parts->out, is_first ? ",\"limits\":{" : ",");
        json_write_str(parts->out, slice_of(word, name_len));
        buf_printf(parts->out, ":%s", equals + 1);
        is_first = false;
    }
    if (!is_first) {
        buf_append_char(parts->out, '}');
    }
    return STATUS_OK;
}

/* The value of a LIST option at an index, "" past its end. */
static const char *list_at(const struct cli *cli, const char *option, unsigned long index)
{
    int at = 0;
    const char *value = cli_list_next(cli, option, &at);
    while (value != NULL && index-- > 0) {
        value = cli_list_next(cli, option, &at);
    }
    return value != NULL ? value : "";
}

/* "/flags/0 is …" as "--flag "-x" is …": the user gave options and never saw the JSON. */
static void write_why(struct buf *out, const struct cli *cli, const char *why)
{
    static const struct {
        const char *pointer, *option;
    } lists[] = {{"/files/", "file"}, {"/flags/", "flag"}, {"/args/", "arg"}};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        size_t len = strlen(lists[i].pointer);
        if (strncmp(why, lists[i].pointer, len) != 0) {
            continue;
        }
        char *rest;
        unsigned long index = strtoul(why + len, &rest, 10);
        rest += strcspn(rest, " ");
        buf_printf(out, "--%s \"%s\"", lists[i].option, list_at(cli, lists[i].option, index));
        if (strstr(rest, " /files/") != NULL) { /* two names that clash */
            rest = " has the name of another --file, or one is a directory of the other";
        }
        buf_append_str(out, rest);
        if (strcmp(lists[i].option, "flag") == 0) {
            buf_append_str(out, "; docs/code-run.md lists them");
        }
        return;
    }
    if (strncmp(why, "/limits/", 8) == 0) {
        buf_printf(out, "--limit %s", why + 8);
        if (strstr(why, "not known") != NULL) {
            buf_append_str(out, "; there are cpu_ms, wall_ms, mem_mib, procs, out_kib and fs_mib");
        }
    } else {
        buf_printf(out, "%s%s", why[0] == '/' ? "--" : "", why[0] == '/' ? why + 1 : why);
    }
}

/* Reads the input of code.run as a node will. */
static enum status check_code_input(const struct cli *cli, struct slice text, bool is_from_options)
{
    struct json_parser *parser = json_parser_new();
    struct code_input input;
    struct buf why, sentence;
    buf_init(&why, 4096);
    buf_init(&sentence, 8192);
    enum status status = parser == NULL ? STATUS_NO_MEMORY : code_input_read(parser, text, &input, &why);
    if (status == STATUS_OK) {
        code_input_free(&input);
    } else if (status == STATUS_NO_MEMORY) {
        cli_fail(cli, status, "there is no memory left");
    } else {
        if (is_from_options) {
            write_why(&sentence, cli, buf_cstr(&why));
        } else {
            buf_printf(&sentence, "the input is not one for code.run: %s", buf_cstr(&why));
        }
        cli_fail(cli, is_from_options ? STATUS_USAGE : status, "%s", buf_cstr(&sentence));
    }
    buf_free(&why);
    buf_free(&sentence);
    json_parser_free(parser);
    return status;
}

static enum status add_files(struct code_parts *parts)
{
    int at = 0;
    const char *spec = parts->source;
    bool is_first = true;
    buf_append_str(parts->out, "{\"files\":[");
    for (;;) {
        spec = is_first && parts->source != NULL ? parts->source : cli_list_next(parts->cli, "file", &at);
        if (spec == NULL) {
            break;
        }
        if (!is_first) {
            buf_append_char(parts->out, ',');
        }
        is_first = false;
        enum status status = add_file(parts, spec);
        if (status != STATUS_OK) {
            return status;
        }
    }
    buf_append_char(parts->out, ']');
    return STATUS_OK;
}

static enum status send_blobs(struct code_parts *parts, struct client *client)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < parts->upload_count && status == STATUS_OK; i++) {
        status = upload(parts->cli, client, &parts->uploads[i], parts->out->data + parts->uploads[i].at);
    }
    return status;
}

/* Whether standard input is a pipe, a socket (as some parents make them) or a file: `shoal run` hands it on then, as any program would read it. */
static bool is_stdin_data(void)
{
    struct stat facts;
    return fstat(STDIN_FILENO, &facts) == 0 &&
           (S_ISFIFO(facts.st_mode) || S_ISSOCK(facts.st_mode) || S_ISREG(facts.st_mode));
}

static enum status write_code_input(const struct cli *cli, struct client *client, struct buf *out)
{
    static struct code_parts parts; /* too large for a stack */
    parts = (struct code_parts){.cli = cli, .out = out, .source = source_word(cli), .lang = cli_text(cli, "lang")};
    enum code_lang lang;
    if (parts.lang != NULL && !code_lang_of(slice_str(parts.lang), &lang)) {
        return cli_fail(cli, STATUS_USAGE, "--lang must be python, javascript, c, cpp or java, not \"%s\"", parts.lang);
    }
    enum status status = add_files(&parts);
    if (status != STATUS_OK) {
        return status;
    }
    if (parts.lang == NULL) {
        return cli_fail(cli, STATUS_USAGE,
                        "the language cannot be told from the names of the files; name it with "
                        "--lang python, javascript, c, cpp or java");
    }
    buf_append_str(out, ",\"lang\":");
    json_write_str(out, slice_str(parts.lang));
    const char *entry = cli_text(cli, "entry");
    entry = entry != NULL ? entry : parts.entry;
    if (*entry != '\0') {
        buf_append_str(out, ",\"entry\":");
        json_write_str(out, slice_str(entry));
    }
    add_words(out, cli, "arg", "args", parts.source != NULL ? 1 : cli->arg_count);
    add_words(out, cli, "flag", "flags", cli->arg_count);
    status = add_limits(&parts);
    const char *stdin_path = cli_text(cli, "stdin");
    stdin_path = stdin_path == NULL && is_run(cli) && is_stdin_data() ? "-" : stdin_path;
    if (status == STATUS_OK && stdin_path != NULL) {
        status = add_stdin(&parts, stdin_path);
    }
    if (cli_flag(cli, "unbuffered")) {
        buf_append_str(out, ",\"unbuffered\":true");
    }
    buf_append_char(out, '}');
    if (status == STATUS_OK && buf_status(out) != STATUS_OK) {
        return cli_fail(cli, STATUS_TOO_LARGE, "the task is larger than %u bytes", LIMIT_HTTP_BODY_SIZE);
    }
    if (status == STATUS_OK) {
        status = check_code_input(cli, buf_slice(out), true);
    }
    return status == STATUS_OK ? send_blobs(&parts, client) : status;
}

/* --- the task --- */

static enum status write_input(const struct cli *cli, struct client *client, struct buf *out)
{
    static const char *const code_options[] = {"file", "lang", "entry", "stdin", "arg", "flag", "limit", "unbuffered"};
    const char *given = NULL;
    for (size_t i = 0; i < sizeof(code_options) / sizeof(code_options[0]) && given == NULL; i++) {
        if (cli_is_given(cli, code_options[i])) {
            given = code_options[i];
        }
    }
    const char *input = cli_text(cli, "input");
    if (given != NULL && input != NULL) {
        return cli_fail(cli, STATUS_USAGE, "--%s and --input do not go together; put everything into one of them",
                        given);
    }
    bool is_code = strcmp(task_kind(cli), "code.run") == 0;
    bool is_source = source_word(cli) != NULL;
    if (is_source && input != NULL) {
        return cli_fail(cli, STATUS_USAGE, "--input and a program do not go together; --stdin gives it standard input");
    }
    if (given != NULL && !is_code) {
        return cli_fail(cli, STATUS_USAGE, "--%s is for code.run; other kinds take --input", given);
    }
    if (!is_source && cli->arg_count > 1) {
        return cli_fail(
            cli, STATUS_USAGE,
            "\"%s\" is one word too many: shoal submit KIND, or shoal submit FILE with the program's arguments",
            cli->args[1]);
    }
    if (given != NULL && !is_source && !cli_is_given(cli, "file")) {
        return cli_fail(cli, STATUS_USAGE, "--%s needs a --file to run", given);
    }
    if (is_code && !is_source && given == NULL && input == NULL) {
        return cli_fail(cli, STATUS_USAGE, "there is no program to run: shoal submit FILE, or --input with JSON");
    }
    if (is_source || given != NULL) {
        return write_code_input(cli, client, out);
    }
    if (input == NULL) {
        buf_append_str(out, "null");
        return STATUS_OK;
    }
    if (strcmp(input, "-") == 0 || input[0] == '@') {
        struct buf text;
        buf_init(&text, LIMIT_HTTP_BODY_SIZE);
        enum status status = read_file(cli, input[0] == '@' ? input + 1 : input, &text);
        buf_append_slice(out, buf_slice(&text));
        buf_free(&text);
        return status;
    }
    buf_append_str(out, input);
    return STATUS_OK;
}

/* Checked here because the offset that the hub would name lies in a body that the user never saw. */
static enum status check_input(const struct cli *cli, struct slice input)
{
    struct json_parser *parser = json_parser_new();
    struct json_value root;
    size_t offset = 0;
    const char *reason = "it is not JSON";
    enum status status = STATUS_NO_MEMORY;
    if (parser != NULL) {
        status = json_parse(parser, input, &root, &offset, &reason);
    }
    json_parser_free(parser);
    if (status == STATUS_OK) {
        return status;
    }
    return cli_fail(cli, status, "the input is not valid JSON at byte %zu: %s", offset, reason);
}

static void write_text_member(struct buf *out, const struct cli *cli, const char *option, const char *member)
{
    const char *text = cli_text(cli, option);
    if (text == NULL) {
        return;
    }
    buf_printf(out, ",\"%s\":", member);
    json_write_str(out, slice_str(text));
}

static void write_number_member(struct buf *out, const struct cli *cli, const char *option, const char *member)
{
    if (cli_text(cli, option) != NULL) {
        buf_printf(out, ",\"%s\":%" PRId64, member, cli_number(cli, option));
    }
}

/* What the hub would refuse with a pointer into JSON that the user never saw. */
static enum status check_options(const struct cli *cli)
{
    int64_t run_at_ns;
    const char *run_at = cli_text(cli, "run-at");
    if (run_at != NULL && time_parse(slice_str(run_at), &run_at_ns) != STATUS_OK) {
        return cli_fail(cli, STATUS_USAGE,
                        "--run-at must be a time such as 2026-01-31T08:00:00Z (RFC 3339), not \"%s\"; --delay takes "
                        "30s or 2h",
                        run_at);
    }
    int at = 0;
    const char *label;
    while ((label = cli_list_next(cli, "label", &at)) != NULL) {
        if (*label == '\0' || strlen(label) > LIMIT_NAME_SIZE || strpbrk(label, "\t\r\n") != NULL) {
            return cli_fail(cli, STATUS_USAGE, "--label must be NAME or NAME=VALUE of 1 to %d bytes, not \"%s\"",
                            LIMIT_NAME_SIZE, label);
        }
    }
    const char *queue = cli_text(cli, "queue");
    if (queue != NULL && !name_is_valid(slice_str(queue))) {
        return cli_fail(cli, STATUS_USAGE, "--queue must be a name of 1 to %d letters, digits, . _ or -, not \"%s\"",
                        LIMIT_NAME_SIZE, queue);
    }
    return STATUS_OK;
}

/* Sends the task; an unknown queue is told with the command that makes it. */
static enum status send_task(const struct cli *cli, struct client *client, struct slice body,
                             struct client_answer *ret_answer)
{
    enum status status = client_try(client, "POST", "/v1/tasks", "application/json", body, 0, ret_answer);
    const char *queue = cli_text(cli, "queue");
    if (status == STATUS_QUEUE_UNKNOWN && queue != NULL && !cli_flag(cli, "json")) {
        return cli_fail(cli, status, "there is no queue \"%s\"; \"shoal queues add %s\" makes it", queue, queue);
    }
    if (status != STATUS_OK) {
        client_tell(client);
    }
    return status;
}

static enum status write_task(const struct cli *cli, struct client *client, struct buf *out)
{
    struct buf input;
    buf_init(&input, LIMIT_HTTP_BODY_SIZE);
    enum status status = write_input(cli, client, &input);
    if (status == STATUS_OK) {
        status = check_input(cli, buf_slice(&input));
    }
    if (status == STATUS_OK && cli_text(cli, "input") != NULL && strcmp(task_kind(cli), "code.run") == 0) {
        status = check_code_input(cli, buf_slice(&input), false);
    }
    buf_append_str(out, "{\"kind\":");
    json_write_str(out, slice_str(task_kind(cli)));
    write_text_member(out, cli, "queue", "queue");
    write_number_member(out, cli, "priority", "priority");
    write_text_member(out, cli, "fairness-key", "fairness_key");
    write_number_member(out, cli, "weight", "weight");
    write_text_member(out, cli, "run-at", "run_at");
    write_number_member(out, cli, "delay", "delay_ms");
    write_number_member(out, cli, "ttl", "ttl_ms");
    write_number_member(out, cli, "timeout", "timeout_ms");
    write_number_member(out, cli, "lease", "lease_ms");
    if (cli_text(cli, "retry-max") != NULL) {
        buf_printf(out, ",\"retry\":{\"max\":%" PRId64 "}", cli_number(cli, "retry-max"));
    }
    if (cli_text(cli, "unique") != NULL) {
        buf_append_str(out, ",\"unique\":{\"key\":");
        json_write_str(out, slice_str(cli_text(cli, "unique")));
        buf_append_str(out, ",\"mode\":\"unfinished\"}");
    }
    buf_append_str(out, ",\"requires\":{\"labels\":[");
    int at = 0;
    const char *label;
    for (bool is_first = true; (label = cli_list_next(cli, "label", &at)) != NULL; is_first = false) {
        if (!is_first) {
            buf_append_char(out, ',');
        }
        json_write_str(out, slice_str(label));
    }
    buf_append_char(out, ']');
    write_number_member(out, cli, "cpu", "cpu");
    write_number_member(out, cli, "memory", "memory_mib");
    write_number_member(out, cli, "gpu", "gpu");
    if (cli_flag(cli, "alone")) {
        buf_append_str(out, ",\"alone\":true");
    }
    buf_append_str(out, "},\"input\":");
    buf_append_slice(out, buf_slice(&input));
    buf_append_char(out, '}');
    buf_free(&input);
    if (status == STATUS_OK && buf_status(out) != STATUS_OK) {
        return cli_fail(cli, STATUS_TOO_LARGE, "the task is larger than %u bytes", LIMIT_HTTP_BODY_SIZE);
    }
    return status;
}

static enum status wait_and_print(const struct cli *cli, struct client *client, const char *id)
{
    struct client_answer answer;
    enum status status = task_wait(cli, client, id, cli_number(cli, "wait-for"), &answer);
    if (status != STATUS_OK) {
        return status;
    }
    if (cli_flag(cli, "json")) {
        struct buf out;
        buf_init(&out, 64u << 20);
        json_print(&out, answer.root);
        buf_append_char(&out, '\n');
        status = cli_print(buf_slice(&out));
        buf_free(&out);
    } else {
        status = task_print_result(client, answer.root);
    }
    return status != STATUS_OK ? status : task_outcome(answer.root);
}

enum status cli_submit(struct cli *cli)
{
    enum status status = check_options(cli);
    if (status != STATUS_OK) {
        return status;
    }
    struct client *client = client_new(cli);
    if (client == NULL) {
        return STATUS_USAGE;
    }
    struct buf body;
    buf_init(&body, LIMIT_HTTP_BODY_SIZE);
    status = write_task(cli, client, &body);
    const char *key = cli_text(cli, "key");
    if (status == STATUS_OK && key != NULL) {
        char line[LIMIT_KEY_SIZE + 32];
        snprintf(line, sizeof(line), "Idempotency-Key: %s", key);
        client_header(client, line);
    }
    struct client_answer answer;
    if (status == STATUS_OK) {
        status = send_task(cli, client, buf_slice(&body), &answer);
    }
    buf_free(&body);
    if (status == STATUS_OK) {
        char id[64];
        snprintf(id, sizeof(id), "%.*s", SLICE_ARG(client_str(answer.root, "id")));
        if (!cli_flag(cli, "json") && client_bool(answer.root, "duplicate")) {
            cli_say("shoal %s: the task %s exists already and has this %s; nothing new was made.\n", cli->command->name,
                    id, cli_is_given(cli, "key") && !cli_is_given(cli, "unique") ? "idempotency key" : "key");
        }
        bool is_wait = is_run(cli) || cli_flag(cli, "wait") || cli_is_given(cli, "wait-for");
        if (!cli_flag(cli, "json") && is_wait) {
            task_say_hint(cli, client, id);
        }
        if (is_wait) {
            status = wait_and_print(cli, client, id);
        } else {
            struct buf out;
            buf_init(&out, 1u << 20);
            if (cli_flag(cli, "json")) {
                json_print(&out, answer.root);
            } else {
                buf_append_str(&out, id);
            }
            buf_append_char(&out, '\n');
            status = cli_print(buf_slice(&out));
            buf_free(&out);
            if (!cli_flag(cli, "json")) {
                task_say_hint(cli, client, id); /* after the id: the answer is gone then */
            }
        }
    }
    client_free(client);
    return status;
}
