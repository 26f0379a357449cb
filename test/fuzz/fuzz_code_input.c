/* fuzz_code_input.c - the input of a code.run task. What is accepted can only name files inside of the sandbox's folder, flags
 * from the lists, and limits within their bounds; what is refused says where. */
#include "test/fuzz/fuzz.h"
#include "work/code/code_input.h"

static void path_is_clean(const char *path)
{
    size_t len = strlen(path);
    ensure(len > 0 && len <= CODE_PATH_SIZE && path[0] != '/' && path[0] != '-' && path[len - 1] != '/');
    ensure(strstr(path, "//") == NULL && strcmp(path, "..") != 0 && strncmp(path, "../", 3) != 0);
    ensure(strstr(path, "/../") == NULL && (len < 3 || strcmp(path + len - 3, "/..") != 0));
}

static void accepted(const struct code_input *input)
{
    ensure(input->lang < LANG_COUNT && input->file_count > 0 && input->file_count <= CODE_FILES_MAX);
    ensure(input->entry < input->file_count && input->arg_count <= CODE_ARGS_MAX);
    ensure(code_is_source(input->lang, slice_str(input->files[input->entry].path)));
    for (size_t i = 0; i < input->file_count; i++) {
        const struct code_file *file = &input->files[i];
        path_is_clean(file->path);
        ensure((file->text != NULL) == (file->blob[0] == '\0'));
        ensure(file->blob[0] == '\0' || strspn(file->blob, "0123456789abcdef") == SHA256_HEX_SIZE - 1);
        for (size_t k = 0; k < i; k++) {
            ensure(strcmp(file->path, input->files[k].path) != 0);
        }
    }
    for (size_t i = 0; i < input->arg_count; i++) {
        ensure(input->args[i] != NULL);
    }
    ensure(input->args[input->arg_count] == NULL && input->flag_count <= CODE_FLAGS_MAX);
    for (size_t i = 0; i < input->flag_count; i++) {
        ensure(input->flag_uses[i] != FLAG_REFUSED);
        ensure(code_flag_use(input->lang, slice_str(input->flags[i])) == input->flag_uses[i]);
    }
    ensure(input->limits.cpu_ms > 0 && input->limits.wall_ms > 0 && input->limits.mem_mib > 0);
    ensure(input->limits.procs > 0 && input->limits.out_kib <= CODE_OUT_KIB_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_parser *parser;
    static struct code_input input; /* large */
    parser = parser != NULL ? parser : json_parser_new();
    ensure(parser != NULL);
    struct buf why;
    buf_init(&why, 65536);
    char *copy = fuzz_copy(slice_of(data, size));
    enum status status = code_input_read(parser, slice_of(copy, size), &input, &why);
    free(copy);
    if (status == STATUS_OK) {
        ensure(why.len == 0);
        accepted(&input);
        code_input_free(&input);
    } else {
        ensure(status == STATUS_INVALID || status == STATUS_UNKNOWN_FIELD || status == STATUS_BAD_JSON);
        ensure(why.len > 1 && why.data[0] == '/' && buf_status(&why) == STATUS_OK);
        ensure(input.file_count == 0 && input.arg_count == 0 && input.flag_count == 0 && input.stdin_text == NULL);
    }
    buf_free(&why);
    return 0;
}
