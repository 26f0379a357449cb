/* code_result.c - the result of a code.run task as JSON. A result is at most 64 KiB like every inline payload, so long
 * output is cut here, and the whole of it is a blob beside it. */
#include "work/code/code_result.h"

#include <assert.h>

#include "base/base64.h"
#include "base/ensure.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/utf8.h"

static_assert(CODE_STDOUT_INLINE_MAX + CODE_STDERR_INLINE_MAX + 2048 < LIMIT_INPUT_SIZE, "a result fits inline");

const char *code_verdict(const struct sandbox_result *run, bool is_compile)
{
    switch (run->end) {
    case SANDBOX_EXITED:
        if (run->exit_code == 0) {
            return "OK";
        }
        return is_compile ? "CE" : "RE";
    case SANDBOX_SIGNALLED:
        return is_compile ? "CE" : "RE";
    case SANDBOX_TIME:
        return "TLE";
    case SANDBOX_MEMORY:
        return "MLE";
    case SANDBOX_OUTPUT:
        return "OLE";
    case SANDBOX_SECURITY:
        return "SECURITY";
    case SANDBOX_CANCELLED:
    case SANDBOX_FAULT:
        break;
    }
    return "IE";
}

/* Without the beginning of a character at the end, which is all that cutting at a limit leaves of it. */
static struct slice without_stump(struct slice text)
{
    for (size_t back = 1; back <= 3 && back <= text.len; back++) {
        unsigned char c = (unsigned char)text.data[text.len - back];
        if (c < 0x80) {
            break;
        }
        if (c >= 0xc0) { /* a first byte: of how many? */
            size_t needs = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
            return needs > back && c <= 0xf4 ? slice_of(text.data, text.len - back) : text;
        }
    }
    return text;
}

static bool is_text(struct slice text, bool is_truncated)
{
    return utf8_is_valid(is_truncated ? without_stump(text) : text);
}

size_t code_inline_len(struct slice text, bool is_truncated, size_t json_max)
{
    if (!is_text(text, is_truncated)) {
        size_t most = json_max / 4 * 3;
        return text.len < most ? text.len : most;
    }
    if (is_truncated) {
        text = without_stump(text);
    }
    size_t cost = 2, len = 0;
    for (; len < text.len; len++) {
        unsigned char c = (unsigned char)text.data[len];
        /* a byte of a longer character is itself */
        cost += c < 0x20 || c == 0x7f ? 6 : c == '"' || c == '\\' ? 2 : 1;
        if (cost > json_max) {
            break;
        }
    }
    if (len < text.len) {
        for (int back = 0; back < 3 && len > 0 && ((unsigned char)text.data[len] & 0xc0) == 0x80; back++) {
            len--;
        }
    }
    return len;
}

static void write_stream(struct buf *out, const char *name, struct slice text, bool is_truncated, size_t json_max,
                         const char *blob)
{
    struct slice part = slice_of(text.data, code_inline_len(text, is_truncated, json_max));
    buf_printf(out, ",\"%s\":", name);
    if (is_text(text, is_truncated)) {
        json_write_str(out, part);
    } else {
        buf_append_char(out, '"');
        base64_encode(out, part);
        buf_printf(out, "\",\"%s_encoding\":\"base64\"", name);
    }
    if (blob[0] != 0) {
        buf_printf(out, ",\"%s_blob\":\"sha256:%s\",\"%s_size\":%zu", name, blob, name, text.len);
    }
}

/* Sentences for people about what the verdict alone does not say. */
static void write_notes(const struct code_result *result, struct buf *out)
{
    const struct sandbox_result *run = result->run;
    const struct sandbox_limits *asked = &result->asked, *held = &result->held;
    const char *before = ",\"notes\":[\"", *next = "\",\"";
    size_t begin = out->len;
    if (result->is_compile) {
        return;
    }
    if (run->procs_refused > 0) {
        buf_printf(out, "%sa process or thread was refused %lld times: the limit procs is %u", before,
                   (long long)run->procs_refused, held->procs);
        before = next;
    }
    if (held->mem_mib < asked->mem_mib) {
        buf_printf(out, "%smem_mib was %u instead of %u, which is all that the node has for a task", before,
                   held->mem_mib, asked->mem_mib);
        before = next;
    }
    if (held->procs < asked->procs) {
        buf_printf(out, "%sprocs was %u instead of %u, which is all that the node has for a task", before, held->procs,
                   asked->procs);
        before = next;
    }
    if (result->loses_output && run->exit_code < 0) {
        buf_printf(out,
                   "%swhat the program had written and not yet flushed when it was ended is lost; unbuffered keeps it",
                   before);
    }
    if (out->len > begin) {
        buf_append_str(out, "\"]");
    }
}

void code_result_write(const struct code_result *result, struct buf *out)
{
    const struct sandbox_result *run = result->run;
    buf_printf(out, "{\"phase\":\"%s\",\"verdict\":\"%s\"", result->is_compile ? "compile" : "run",
               code_verdict(run, result->is_compile));
    if (run->exit_code >= 0) {
        buf_printf(out, ",\"exit\":%d", run->exit_code);
    } else {
        buf_append_str(out, ",\"exit\":null");
    }
    if (run->signal > 0) {
        buf_printf(out, ",\"signal\":%d", run->signal);
    } else {
        buf_append_str(out, ",\"signal\":null");
    }
    bool is_over = run->is_truncated;
    bool is_cut = code_inline_len(run->out, is_over, CODE_STDOUT_INLINE_MAX) < run->out.len ||
                  code_inline_len(run->err, is_over, CODE_STDERR_INLINE_MAX) < run->err.len;
    write_stream(out, "stdout", run->out, is_over, CODE_STDOUT_INLINE_MAX, result->stdout_blob);
    write_stream(out, "stderr", run->err, is_over, CODE_STDERR_INLINE_MAX, result->stderr_blob);
    buf_printf(out, ",\"truncated\":%s", run->is_truncated || is_cut ? "true" : "false");
    buf_printf(out, ",\"stats\":{\"wall_ms\":%lld,\"cpu_ms\":%lld,\"peak_mib\":%lld", (long long)run->wall_ms,
               (long long)run->cpu_ms, (long long)run->peak_mib);
    if (run->procs_refused > 0) {
        buf_printf(out, ",\"procs_refused\":%lld", (long long)run->procs_refused);
    }
    buf_append_char(out, '}');
    if (result->has_compile) {
        buf_printf(out, ",\"compile\":{\"cached\":%s,\"wall_ms\":%lld}", result->is_cached ? "true" : "false",
                   (long long)result->compile_wall_ms);
    }
    write_notes(result, out);
    buf_append_char(out, '}');
}
