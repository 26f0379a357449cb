/* code_result.c - the result of a code.run task as JSON. A result is at most 64 KiB like every inline payload, so long
 * output is cut here, and the whole of it is a blob beside it. */
#include "work/code/code_result.h"

#include <assert.h>

#include "base/ensure.h"
#include "base/json.h"
#include "base/limits.h"

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

size_t code_inline_len(struct slice text, size_t json_max)
{
    size_t cost = 2, len = 0;
    for (; len < text.len; len++) {
        unsigned char c = (unsigned char)text.data[len];
        /* an invalid byte becomes U+FFFD, three bytes; a valid one of a longer character costs less than that */
        cost += c < 0x20 || c == 0x7f ? 6 : c == '"' || c == '\\' ? 2 : c >= 0x80 ? 3 : 1;
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

static void write_stream(struct buf *out, const char *name, struct slice text, size_t json_max, const char *blob)
{
    buf_printf(out, ",\"%s\":", name);
    json_write_str(out, slice_of(text.data, code_inline_len(text, json_max)));
    if (blob[0] != 0) {
        buf_printf(out, ",\"%s_blob\":\"sha256:%s\",\"%s_size\":%zu", name, blob, name, text.len);
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
    bool is_cut = code_inline_len(run->out, CODE_STDOUT_INLINE_MAX) < run->out.len ||
                  code_inline_len(run->err, CODE_STDERR_INLINE_MAX) < run->err.len;
    write_stream(out, "stdout", run->out, CODE_STDOUT_INLINE_MAX, result->stdout_blob);
    write_stream(out, "stderr", run->err, CODE_STDERR_INLINE_MAX, result->stderr_blob);
    buf_printf(out, ",\"truncated\":%s", run->is_truncated || is_cut ? "true" : "false");
    buf_printf(out, ",\"stats\":{\"wall_ms\":%lld,\"cpu_ms\":%lld,\"peak_mib\":%lld}", (long long)run->wall_ms,
               (long long)run->cpu_ms, (long long)run->peak_mib);
    if (result->has_compile) {
        buf_printf(out, ",\"compile\":{\"cached\":%s,\"wall_ms\":%lld}", result->is_cached ? "true" : "false",
                   (long long)result->compile_wall_ms);
    }
    buf_append_char(out, '}');
}
