/* code_input.c - reads and checks the input of a code.run task.
 *
 * Everything that names something in a box is checked here and nowhere else: paths are relative, have no empty, "."
 * or ".." part and no control bytes, differ from each other, and none is a directory of another. What passes can be put
 * into a command line and below the work directory as it is. */
#include "work/code/code_input.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/ensure.h"

#define TEXT_MAX (1 << 20) /* an inline input is at most 64 KiB as a task; a direct caller may give more */

static const struct limit {
    const char *name;
    int64_t least, most, usual;
} limits[] = {
    {"cpu_ms", 10, 3600000, 10000}, {"wall_ms", 10, 7200000, 30000},       {"mem_mib", 16, 65536, 512},
    {"procs", 1, 4096, 64},         {"out_kib", 1, CODE_OUT_KIB_MAX, 256}, {"fs_mib", 1, 16384, 64},
};
enum { CPU_MS, WALL_MS, MEM_MIB, PROCS, OUT_KIB, FS_MIB };

struct context {
    struct code_input *input;
    struct buf *why;
    enum status status;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct context *ctx, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(ctx->why, format, args);
    va_end(args);
    ctx->status = STATUS_INVALID;
    return false;
}

/* An owned, NUL-terminated copy of text without NUL inside. */
static char *copy_of(struct context *ctx, struct slice text)
{
    char *copy = malloc(text.len + 1);
    if (copy == NULL) {
        ctx->status = STATUS_NO_MEMORY;
        return NULL;
    }
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = 0;
    return copy;
}

static bool has_nul(struct slice text)
{
    return text.len > 0 && memchr(text.data, 0, text.len) != NULL;
}

/* --- files ----------------------------------------------------------------------------------------------------- */

static const char *path_fault(struct slice path)
{
    if (path.len == 0) {
        return "is empty";
    }
    if (path.len > CODE_PATH_SIZE) {
        return "is longer than 200 bytes";
    }
    if (path.data[0] == '/') {
        return "must be relative";
    }
    if (path.data[0] == '-' || path.data[0] == '@') {
        return "must not begin with - or @";
    }
    size_t part = 0;
    for (size_t i = 0; i <= path.len; i++) {
        unsigned char c = i < path.len ? (unsigned char)path.data[i] : '/';
        if (c < 0x20 || c == 0x7f || c == '\\') {
            return "holds a control character or a backslash";
        }
        if (c != '/') {
            continue;
        }
        struct slice name = slice_of(path.data + part, i - part);
        if (name.len == 0 || slice_equal_str(name, ".") || slice_equal_str(name, "..")) {
            return "has an empty, \".\" or \"..\" part";
        }
        part = i + 1;
    }
    return NULL;
}

static bool paths_clash(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b), len = a_len < b_len ? a_len : b_len;
    if (memcmp(a, b, len) != 0) {
        return false;
    }
    return a_len == b_len || (a_len < b_len ? b : a)[len] == '/';
}

static bool blob_read(struct slice text, char ret_hex[SHA256_HEX_SIZE])
{
    if (!slice_starts_with(text, SLICE("sha256:")) || text.len != 7 + 64) {
        return false;
    }
    for (size_t i = 0; i < 64; i++) {
        if (text.data[7 + i] == 0 || strchr("0123456789abcdef", text.data[7 + i]) == NULL) {
            return false;
        }
    }
    memcpy(ret_hex, text.data + 7, 64);
    ret_hex[64] = 0;
    return true;
}

/* An owned copy of what a base64 text stands for; false, with the status set for want of memory only, when it is none. */
static bool bytes_of(struct context *ctx, struct slice text, char **ret_bytes, size_t *ret_len)
{
    struct buf bytes;
    buf_init(&bytes, text.len + 1);
    bool is_ok = base64_decode(&bytes, text);
    if (is_ok) {
        *ret_bytes = copy_of(ctx, buf_slice(&bytes));
        *ret_len = bytes.len;
        is_ok = *ret_bytes != NULL;
    }
    buf_free(&bytes);
    return is_ok;
}

static bool file_read(struct context *ctx, size_t i, struct json_value value)
{
    struct code_file *file = &ctx->input->files[i];
    bool has_content = false;
    if (json_type_of(value) != JSON_OBJECT) {
        return refuse(ctx, "/files/%zu must be an object with \"path\" and \"text\", \"base64\" or \"blob\"", i);
    }
    struct json_iter iter = json_iter_of(value);
    struct slice key, text;
    struct json_value member;
    while (json_next(&iter, &key, &member)) {
        bool is_text = json_get_str(member, &text);
        if (slice_equal_str(key, "path")) {
            const char *fault = !is_text ? "must be a string" : path_fault(text);
            if (fault != NULL || file->path != NULL) {
                return refuse(ctx, "/files/%zu/path %s", i, fault != NULL ? fault : "is there twice");
            }
            if ((file->path = copy_of(ctx, text)) == NULL) {
                return false;
            }
        } else if (slice_equal_str(key, "text")) {
            if (!is_text || has_content) {
                return refuse(ctx, "/files/%zu/text must be one string, without \"base64\" and \"blob\"", i);
            }
            if ((file->text = copy_of(ctx, text)) == NULL) {
                return false;
            }
            file->text_len = text.len;
            has_content = true;
        } else if (slice_equal_str(key, "base64")) {
            if (!is_text || has_content || !bytes_of(ctx, text, &file->text, &file->text_len)) {
                return ctx->status == STATUS_OK
                           ? refuse(ctx, "/files/%zu/base64 must be base64 with padding, without \"text\" and \"blob\"",
                                    i)
                           : false;
            }
            has_content = true;
        } else if (slice_equal_str(key, "blob")) {
            if (!is_text || has_content || !blob_read(text, file->blob)) {
                return refuse(ctx,
                              "/files/%zu/blob must be \"sha256:\" and 64 lower-case hexadecimal digits, without "
                              "\"text\"",
                              i);
            }
            has_content = true;
        } else {
            refuse(ctx, "/files/%zu/%.*s is not known here", i, (int)(key.len < 40 ? key.len : 40), key.data);
            ctx->status = STATUS_UNKNOWN_FIELD;
            return false;
        }
    }
    if (file->path == NULL || !has_content) {
        return refuse(ctx, "/files/%zu needs \"path\" and \"text\", \"base64\" or \"blob\"", i);
    }
    for (size_t j = 0; j < i; j++) {
        if (paths_clash(ctx->input->files[j].path, file->path)) {
            return refuse(ctx, "/files/%zu/path is the same as /files/%zu/path, or one is a directory of the other", i,
                          j);
        }
    }
    return true;
}

static bool files_read(struct context *ctx, struct json_value value)
{
    size_t count = json_count(value);
    if (json_type_of(value) != JSON_ARRAY || count == 0 || count > CODE_FILES_MAX) {
        return refuse(ctx, "/files must be an array of 1 to %d files", CODE_FILES_MAX);
    }
    struct json_iter iter = json_iter_of(value);
    struct slice key;
    struct json_value element;
    while (json_next(&iter, &key, &element)) {
        size_t i = ctx->input->file_count++;
        if (!file_read(ctx, i, element)) {
            return false;
        }
    }
    return true;
}

/* --- the rest -------------------------------------------------------------------------------------------------- */

static bool strings_read(struct context *ctx, const char *name, struct json_value value, char **ret_items, size_t max,
                         size_t *ret_count)
{
    size_t count = json_count(value), total = 0;
    if (json_type_of(value) != JSON_ARRAY || count > max) {
        return refuse(ctx, "/%s must be an array of at most %zu strings", name, max);
    }
    struct json_iter iter = json_iter_of(value);
    struct slice key, text;
    struct json_value element;
    while (json_next(&iter, &key, &element)) {
        if (!json_get_str(element, &text) || has_nul(text)) {
            return refuse(ctx, "/%s/%zu must be a string without NUL", name, *ret_count);
        }
        total += text.len + 1;
        if (text.len > 65536 || total > TEXT_MAX) {
            return refuse(ctx, "/%s/%zu makes the list longer than the limit", name, *ret_count);
        }
        if ((ret_items[*ret_count] = copy_of(ctx, text)) == NULL) {
            return false;
        }
        (*ret_count)++;
    }
    return true;
}

/* A text, {"base64": …} or {"blob": "sha256:…"}. */
static bool stdin_read(struct context *ctx, struct json_value value)
{
    struct code_input *input = ctx->input;
    struct slice text;
    struct json_value member;
    if (input->stdin_text != NULL || input->stdin_blob[0] != 0) {
        return refuse(ctx, "/stdin is there twice");
    }
    if (json_get_str(value, &text)) {
        input->stdin_text = copy_of(ctx, text);
        input->stdin_len = text.len;
        return input->stdin_text != NULL;
    }
    bool is_one = json_type_of(value) == JSON_OBJECT && json_count(value) == 1;
    if (is_one && json_member(value, "base64", &member) && json_get_str(member, &text)) {
        return bytes_of(ctx, text, &input->stdin_text, &input->stdin_len) ||
               (ctx->status == STATUS_OK && refuse(ctx, "/stdin/base64 must be base64 with padding"));
    }
    if (is_one && json_member(value, "blob", &member) && json_get_str(member, &text)) {
        return blob_read(text, input->stdin_blob) ||
               refuse(ctx, "/stdin/blob must be \"sha256:\" and 64 lower-case hexadecimal digits");
    }
    return refuse(ctx, "/stdin must be a string, or an object with \"base64\" or \"blob\" alone");
}

static bool limits_read(struct context *ctx, struct json_value value, int64_t chosen[])
{
    if (json_type_of(value) != JSON_OBJECT) {
        return refuse(ctx, "/limits must be an object");
    }
    struct json_iter iter = json_iter_of(value);
    struct slice key;
    struct json_value member;
    while (json_next(&iter, &key, &member)) {
        size_t i = 0;
        while (i < ARRAY_COUNT(limits) && !slice_equal_str(key, limits[i].name)) {
            i++;
        }
        if (i == ARRAY_COUNT(limits)) {
            refuse(ctx, "/limits/%.*s is not known here", (int)(key.len < 40 ? key.len : 40), key.data);
            ctx->status = STATUS_UNKNOWN_FIELD;
            return false;
        }
        if (!json_get_i64(member, &chosen[i]) || chosen[i] < limits[i].least || chosen[i] > limits[i].most) {
            return refuse(ctx, "/limits/%s must be a whole number from %lld to %lld", limits[i].name,
                          (long long)limits[i].least, (long long)limits[i].most);
        }
    }
    return true;
}

static bool entry_choose(struct context *ctx, struct slice entry)
{
    struct code_input *input = ctx->input;
    const struct code_lang_info *info = &code_langs[input->lang];
    struct slice wanted = entry.data != NULL ? entry : slice_str(info->entry);
    bool is_found = false;
    for (size_t i = 0; i < input->file_count && !is_found; i++) {
        if (slice_equal_str(wanted, input->files[i].path)) {
            input->entry = i;
            is_found = true;
        }
    }
    /* without an entry a single source file is what is meant */
    size_t sources = 0;
    for (size_t i = 0; i < input->file_count; i++) {
        if (code_is_source(input->lang, slice_str(input->files[i].path))) {
            sources++;
            if (!is_found && entry.data == NULL) {
                input->entry = i;
            }
        }
    }
    if (!is_found &&
        (entry.data != NULL || (sources != 1 && !(sources > 1 && input->lang != LANG_JAVA && info->is_compiled)))) {
        return refuse(ctx, "/entry must be the path of one of the files; without it \"%s\" must be among them",
                      info->entry);
    }
    const char *path = input->files[input->entry].path;
    char class_name[CODE_PATH_SIZE + 1];
    if (!code_is_source(input->lang, slice_str(path))) {
        return refuse(ctx, "/entry must end in %s", info->suffixes[0]);
    }
    if (input->lang == LANG_JAVA && !code_java_class(slice_str(path), class_name, sizeof(class_name))) {
        return refuse(ctx, "/entry must be the path of a Java class");
    }
    return true;
}

static bool input_read(struct context *ctx, struct json_value root)
{
    struct code_input *input = ctx->input;
    struct json_iter iter = json_iter_of(root);
    struct slice key, text, entry = {NULL, 0};
    struct json_value value;
    bool has_lang = false;
    int64_t chosen[ARRAY_COUNT(limits)];
    for (size_t i = 0; i < ARRAY_COUNT(limits); i++) {
        chosen[i] = limits[i].usual;
    }
    if (json_type_of(root) != JSON_OBJECT) {
        return refuse(ctx, "/ must be an object");
    }
    while (json_next(&iter, &key, &value)) {
        if (slice_equal_str(key, "lang")) {
            if (!json_get_str(value, &text) || !code_lang_of(text, &input->lang)) {
                return refuse(ctx, "/lang must be python, javascript, c, cpp or java");
            }
            has_lang = true;
        } else if (slice_equal_str(key, "files")) {
            if (input->file_count > 0) {
                return refuse(ctx, "/files is there twice");
            }
            if (!files_read(ctx, value)) {
                return false;
            }
        } else if (slice_equal_str(key, "entry")) {
            if (!json_get_str(value, &entry)) {
                return refuse(ctx, "/entry must be a string");
            }
        } else if (slice_equal_str(key, "args")) {
            if (input->arg_count > 0 ||
                !strings_read(ctx, "args", value, input->args, CODE_ARGS_MAX, &input->arg_count)) {
                return input->arg_count > 0 && ctx->status == STATUS_OK ? refuse(ctx, "/args is there twice") : false;
            }
        } else if (slice_equal_str(key, "flags")) {
            if (input->flag_count > 0 ||
                !strings_read(ctx, "flags", value, input->flags, CODE_FLAGS_MAX, &input->flag_count)) {
                return input->flag_count > 0 && ctx->status == STATUS_OK ? refuse(ctx, "/flags is there twice") : false;
            }
        } else if (slice_equal_str(key, "stdin")) {
            if (!stdin_read(ctx, value)) {
                return false;
            }
        } else if (slice_equal_str(key, "unbuffered")) {
            if (!json_get_bool(value, &input->is_unbuffered)) {
                return refuse(ctx, "/unbuffered must be true or false");
            }
        } else if (slice_equal_str(key, "limits")) {
            if (!limits_read(ctx, value, chosen)) {
                return false;
            }
        } else {
            refuse(ctx, "/%.*s is not known here", (int)(key.len < 40 ? key.len : 40), key.data);
            ctx->status = STATUS_UNKNOWN_FIELD;
            return false;
        }
    }
    if (!has_lang) {
        return refuse(ctx, "/lang is missing");
    }
    if (input->file_count == 0) {
        return refuse(ctx, "/files is missing");
    }
    const struct code_lang_info *info = &code_langs[input->lang];
    if (chosen[PROCS] < info->procs_min) {
        return refuse(ctx, "/limits/procs must be at least %u for %s, which starts so many threads", info->procs_min,
                      info->name);
    }
    for (size_t i = 0; i < input->flag_count; i++) {
        input->flag_uses[i] = code_flag_use(input->lang, slice_str(input->flags[i]));
        if (input->flag_uses[i] == FLAG_REFUSED) {
            return refuse(ctx, "/flags/%zu is not among the flags allowed for %s", i, code_langs[input->lang].name);
        }
    }
    input->limits = (struct sandbox_limits){.cpu_ms = chosen[CPU_MS],
                                            .wall_ms = chosen[WALL_MS],
                                            .mem_mib = (uint32_t)chosen[MEM_MIB],
                                            .procs = (uint32_t)chosen[PROCS],
                                            .out_kib = (uint32_t)chosen[OUT_KIB],
                                            .fs_mib = (uint32_t)chosen[FS_MIB]};
    return entry_choose(ctx, entry);
}

enum status code_input_read(struct json_parser *parser, struct slice text, struct code_input *ret_input,
                            struct buf *ret_why)
{
    *ret_input = (struct code_input){0};
    struct context ctx = {ret_input, ret_why, STATUS_OK};
    struct json_value root;
    size_t offset = 0;
    const char *reason = "";
    enum status status = json_parse(parser, text, &root, &offset, &reason);
    if (status != STATUS_OK) {
        buf_printf(ret_why, "/ is not valid JSON at byte %zu: %s", offset, reason);
        return status;
    }
    if (input_read(&ctx, root)) {
        return STATUS_OK;
    }
    code_input_free(ret_input);
    ensure(ctx.status != STATUS_OK);
    return ctx.status;
}

void code_input_free(struct code_input *input)
{
    for (size_t i = 0; i < input->file_count; i++) {
        free(input->files[i].path);
        free(input->files[i].text);
    }
    for (size_t i = 0; i < input->arg_count; i++) {
        free(input->args[i]);
    }
    for (size_t i = 0; i < input->flag_count; i++) {
        free(input->flags[i]);
    }
    free(input->stdin_text);
    *input = (struct code_input){0};
}
