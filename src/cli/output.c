/* output.c - words to people and programs. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/json.h"
#include "base/printable.h"
#include "cli/cli.h"

static enum status write_all(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t written = write(fd, text.data, text.len);
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

/* The one way out for everything that is printed for people. */
static enum status print_to(int fd, struct slice text)
{
    struct buf safe;
    buf_init(&safe, SIZE_MAX / 4);
    fflush(fd == STDERR_FILENO ? stderr : stdout); /* what cli_print_bytes left there comes first */
    paint_append(&safe, text, cli_has_color(fd));
    enum status status = buf_status(&safe) == STATUS_OK ? STATUS_OK : STATUS_NO_MEMORY;
    if (status == STATUS_OK && fd == STDERR_FILENO && safe.len > 0) {
        fwrite(safe.data, 1, safe.len, stderr); /* nothing is kept there */
    } else if (status == STATUS_OK) {
        status = write_all(fd, buf_slice(&safe));
    }
    buf_free(&safe);
    return status;
}

enum status cli_print(struct slice text)
{
    return print_to(STDOUT_FILENO, text);
}

void cli_say(const char *format, ...)
{
    struct buf text;
    buf_init(&text, 1u << 20);
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    enum status status = print_to(STDERR_FILENO, buf_slice(&text));
    (void)status; /* nowhere left to tell it */
    buf_free(&text);
}

void cli_write_indented(struct buf *out, struct slice text, int columns)
{
    for (size_t i = 0; i < text.len; i++) {
        buf_append_char(out, text.data[i]);
        if (text.data[i] == '\n' && i + 1 < text.len) {
            buf_printf(out, "%*s", columns, "");
        }
    }
}

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
    enum status printed = print_to(STDERR_FILENO, buf_slice(&out));
    (void)printed;
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

const char *cli_state_color(struct slice state)
{
    static const struct {
        const char *state, *color;
    } colors[] = {
        {"succeeded", PAINT_GREEN}, {"live", PAINT_GREEN},       {"ok", PAINT_GREEN},       {"leased", PAINT_CYAN},
        {"ready", PAINT_BLUE},      {"scheduled", PAINT_BLUE},   {"dead", PAINT_RED},       {"gone", PAINT_RED},
        {"fail", PAINT_RED},        {"cancelled", PAINT_YELLOW}, {"expired", PAINT_YELLOW}, {"suspect", PAINT_YELLOW},
        {"warn", PAINT_YELLOW},
    };
    for (size_t i = 0; i < sizeof(colors) / sizeof(colors[0]); i++) {
        if (slice_equal_str(state, colors[i].state)) {
            return colors[i].color;
        }
    }
    return "";
}
