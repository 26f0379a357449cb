/* output.c - words to people and programs. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/cli.h"

enum status cli_fail(const struct cli *cli, enum status status, const char *format, ...)
{
    struct buf text, out;
    buf_init(&text, 65536);
    buf_init(&out, 262144);
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    if (cli_flag(cli, "json")) {
        buf_printf(&out, "{\"code\":\"%s\",\"title\":", status_slug(status));
        json_write_str(&out, slice_str(status_title(status)));
        buf_append_str(&out, ",\"detail\":");
        json_write_str(&out, buf_slice(&text));
        buf_printf(&out, ",\"retryable\":%s}\n", status_is_retryable(status) ? "true" : "false");
    } else {
        buf_printf(&out, "shoal %s: ", cli->command->name);
        buf_append_slice(&out, buf_slice(&text));
        if (text.len > 0 && strchr(".!?\n", text.data[text.len - 1]) == NULL) {
            buf_append_char(&out, '.');
        }
        buf_append_char(&out, '\n');
    }
    fwrite(out.data, 1, out.len, stderr);
    buf_free(&text);
    buf_free(&out);
    return status;
}

bool cli_is_terminal(int fd)
{
    return isatty(fd) == 1;
}

bool cli_has_color(int fd)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return cli_is_terminal(fd) && (no_color == NULL || *no_color == '\0') && term != NULL && strcmp(term, "dumb") != 0;
}

int cli_columns(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 60) {
        return 80;
    }
    return size.ws_col > 110 ? 110 : size.ws_col;
}

enum status cli_print(struct slice text)
{
    fflush(stdout);
    while (text.len > 0) {
        ssize_t written = write(STDOUT_FILENO, text.data, text.len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return errno == EPIPE ? STATUS_OK : STATUS_IO;
        }
        text.data += written;
        text.len -= (size_t)written;
    }
    return STATUS_OK;
}

void cli_duration_text(int64_t ms, char *ret, size_t size)
{
    if (ms < 0) {
        ms = 0;
    }
    if (ms < 1000) {
        snprintf(ret, size, "%lld ms", (long long)ms);
    } else if (ms < 120000) {
        snprintf(ret, size, "%lld.%lld s", (long long)ms / 1000, (long long)(ms % 1000) / 100);
    } else if (ms < 7200000) {
        snprintf(ret, size, "%lld min", (long long)ms / 60000);
    } else if (ms < 2 * 86400000LL) {
        snprintf(ret, size, "%lld h", (long long)ms / 3600000);
    } else {
        snprintf(ret, size, "%lld d", (long long)ms / 86400000);
    }
}

const char *cli_state_color(bool has_color, struct slice state)
{
    static const struct {
        const char *state, *color;
    } colors[] = {
        {"succeeded", "\033[32m"}, {"live", "\033[32m"},      {"ok", "\033[32m"},      {"leased", "\033[36m"},
        {"ready", "\033[34m"},     {"scheduled", "\033[34m"}, {"dead", "\033[31m"},    {"gone", "\033[31m"},
        {"fail", "\033[31m"},      {"cancelled", "\033[33m"}, {"expired", "\033[33m"}, {"suspect", "\033[33m"},
        {"warn", "\033[33m"},
    };
    for (size_t i = 0; has_color && i < sizeof(colors) / sizeof(colors[0]); i++) {
        if (slice_equal_str(state, colors[i].state)) {
            return colors[i].color;
        }
    }
    return "";
}

const char *cli_color_end(bool has_color)
{
    return has_color ? "\033[0m" : "";
}
