/* The kind code.run from input to outcome: languages, input, verdicts, limits, cache, blobs, cancel. */
#include "code_fixture.h"
#include "sandbox_gate.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"

static struct code_fixture fixture;

/* --- a hub that knows blobs and nothing else ------------------------------------------------------------------- */

static struct blob_hub {
    int fd;
    pthread_t thread;
    char url[64];
    char content[1 << 20];
    size_t content_len;
    char content_hex[SHA256_HEX_SIZE];
    char uploaded[1 << 20];
    size_t uploaded_len;
    char uploaded_hex[SHA256_HEX_SIZE];
    bool is_lying; /* sends other bytes than asked for */
    int gets, heads;
    uint64_t claimed_size; /* not 0: what HEAD says instead of the truth */
} hub;

static size_t read_head(int fd, char *text, size_t size)
{
    size_t len = 0;
    while (len < size - 1) {
        ssize_t got = read(fd, text + len, size - 1 - len);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
        text[len] = 0;
        if (strstr(text, "\r\n\r\n") != NULL) {
            break;
        }
    }
    return len;
}

static void *hub_main(void *arg)
{
    (void)arg;
    for (;;) {
        int fd = accept(hub.fd, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        static char text[65536];
        size_t len = read_head(fd, text, sizeof(text));
        char hex[SHA256_HEX_SIZE] = "", head[256];
        if (sscanf(text, "HEAD /v1/blobs/%64s", hex) == 1) {
            hub.heads++;
            bool is_known = strcmp(hex, hub.content_hex) == 0 || hub.is_lying;
            int head_len =
                snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %llu\r\nConnection: close\r\n\r\n",
                         is_known ? "200 OK" : "404 Not Found",
                         (unsigned long long)(hub.claimed_size != 0 ? hub.claimed_size
                                              : is_known            ? hub.content_len
                                                                    : 0));
            if (write(fd, head, (size_t)head_len) < 0) {
                perror("blob hub");
            }
        } else if (sscanf(text, "GET /v1/blobs/%64s", hex) == 1) {
            hub.gets++;
            bool is_known = strcmp(hex, hub.content_hex) == 0 || hub.is_lying;
            int head_len =
                snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                         is_known ? "200 OK" : "404 Not Found", is_known ? hub.content_len : 0);
            if (write(fd, head, (size_t)head_len) > 0 && is_known && write(fd, hub.content, hub.content_len) < 0) {
                perror("blob hub");
            }
        } else if (sscanf(text, "PUT /v1/blobs/%64s", hex) == 1) {
            const char *length = strstr(text, "Content-Length: "), *body = strstr(text, "\r\n\r\n") + 4;
            size_t want = strtoul(length + 16, NULL, 10), have = len - (size_t)(body - text);
            memcpy(hub.uploaded, body, have);
            while (have < want) {
                ssize_t got = read(fd, hub.uploaded + have, want - have);
                if (got <= 0) {
                    break;
                }
                have += (size_t)got;
            }
            hub.uploaded_len = have;
            memcpy(hub.uploaded_hex, hex, sizeof(hex));
            const char *answer = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            if (write(fd, answer, strlen(answer)) < 0) {
                perror("blob hub");
            }
        }
        close(fd);
    }
}

static void hub_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    hub.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(hub.fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(hub.fd, 16), 0);
    assert_int_equal(getsockname(hub.fd, (struct sockaddr *)&address, &len), 0);
    snprintf(hub.url, sizeof(hub.url), "http://127.0.0.1:%d", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&hub.thread, NULL, hub_main, NULL), 0);
}

static void hub_stop(void)
{
    shutdown(hub.fd, SHUT_RDWR);
    pthread_join(hub.thread, NULL);
    close(hub.fd);
}

static void hub_has(const char *content)
{
    uint8_t digest[SHA256_SIZE];
    hub.content_len = strlen(content);
    memcpy(hub.content, content, hub.content_len);
    sha256(slice_str(content), digest);
    hex_encode(digest, sizeof(digest), hub.content_hex);
}

/* --- set-up ---------------------------------------------------------------------------------------------------- */

static int group_setup(void **ctx)
{
    (void)ctx;
    hub_start();
    if (!code_fixture_open(&fixture, hub.url)) {
        fail_msg("code.run cannot be offered here: %s", buf_cstr(&fixture.why));
    }
    return 0;
}

static int group_teardown(void **ctx)
{
    (void)ctx;
    code_fixture_close(&fixture);
    hub_stop();
    return 0;
}

#define NEED(lang)                                                                                                     \
    if (!code_has_lang(&fixture, lang))                                                                                \
    skip()

static const char c_exit[] = "#include <stdlib.h>\nint main(int c, char **v) { return c > 1 ? atoi(v[1]) : 0; }\n";

/* --- languages and input --------------------------------------------------------------------------------------- */

static void hello_in(const char *lang, const char *source)
{
    NEED(lang);
    struct code_outcome *outcome =
        code_try_source(&fixture, lang, source, "\"args\":[\"x y\",\"\"],\"stdin\":\"one\\ntwo\\n\"");
    assert_verdict(outcome, "OK");
    assert_string_equal(outcome->phase, "run");
    assert_int_equal(outcome->exit, 0);
    assert_int_equal(outcome->signal, -1);
    assert_string_equal(outcome->out, "one|x y||2\n");
    assert_string_equal(outcome->err, "");
    assert_false(outcome->is_truncated);
    assert_true(outcome->peak_mib > 0);
}

static void test_python(void **ctx)
{
    (void)ctx;
    hello_in("python", "import sys\nprint(input(), sys.argv[1], sys.argv[2], len(sys.argv) - 1, sep='|')\n");
}

static void test_javascript(void **ctx)
{
    (void)ctx;
    hello_in("javascript", "const a = process.argv.slice(2);\n"
                           "const line = require('fs').readFileSync(0, 'utf8').split('\\n')[0];\n"
                           "console.log([line, a[0], a[1], a.length].join('|'));\n");
}

static void test_c(void **ctx)
{
    (void)ctx;
    hello_in("c", "#include <stdio.h>\nint main(int c, char **v) { char b[64]; scanf(\"%63s\", b);\n"
                  "printf(\"%s|%s|%s|%d\\n\", b, v[1], v[2], c - 1); }\n");
}

static void test_cpp(void **ctx)
{
    (void)ctx;
    hello_in("cpp",
             "#include <iostream>\n#include <string>\nint main(int c, char **v) { std::string b; std::cin >> b;\n"
             "std::cout << b << '|' << v[1] << '|' << v[2] << '|' << c - 1 << std::endl; }\n");
}

static void test_java(void **ctx)
{
    (void)ctx;
    hello_in("java",
             "import java.util.*;\npublic class Main { record Line(String text) {}\n"
             "public static void main(String[] a) { var line = new Line(new Scanner(System.in).next());\n"
             "System.out.println(String.join(\"|\", List.of(line.text(), a[0], a[1], \"\" + a.length))); } }\n");
}

static void test_files_and_entry(void **ctx)
{
    (void)ctx;
    NEED("python");
    struct code_outcome *outcome = code_try(
        &fixture,
        "{\"lang\":\"python\",\"entry\":\"app/start.py\",\"files\":["
        "{\"path\":\"app/start.py\",\"text\":\"import helper,os\\nprint(helper.x, open('data/in put.txt').read(), sorted(os.listdir('.')))"
        "\\nopen('data/out','w').write('x')\\nopen('data/in put.txt','a').write('x')\"},"
        "{\"path\":\"app/helper.py\",\"text\":\"x=41+1\"},{\"path\":\"data/in put.txt\",\"text\":\"\\u00e4\\u0000b\"}]}");
    assert_verdict(outcome, "OK");
    assert_int_equal(outcome->out_len, strlen("42 \u00e4?b ['app', 'data']\n"));
    assert_memory_equal(outcome->out, "42 \u00e4\0b ['app', 'data']\n", outcome->out_len);

    NEED("c");
    outcome = code_try(
        &fixture,
        "{\"lang\":\"c\",\"files\":[{\"path\":\"a.c\",\"text\":\"#include \\\"sub/b.h\\\"\\nint main(void){return b()-N;}\"},"
        "{\"path\":\"sub/b.c\",\"text\":\"int b(void){return 7;}\"},{\"path\":\"sub/b.h\",\"text\":\"int b(void);\"}],"
        "\"flags\":[\"-DN=3\",\"-Wall\",\"-Werror\",\"-O3\",\"-std=c17\",\"-lm\"]}");
    assert_verdict(outcome, "RE");
    assert_int_equal(outcome->exit, 4);

    NEED("java");
    outcome = code_try(
        &fixture,
        "{\"lang\":\"java\",\"entry\":\"org/demo/Start.java\",\"files\":["
        "{\"path\":\"org/demo/Start.java\",\"text\":\"package org.demo; class Start { public static void main(String[] a) throws Exception {"
        "System.out.print(new Help().get() + java.nio.file.Files.readString(java.nio.file.Path.of(\\\"t.txt\\\"))); } }\"},"
        "{\"path\":\"org/demo/Help.java\",\"text\":\"package org.demo; class Help { String get() { Runnable r = () -> {}; return \\\"h\\\"; } }\"},"
        "{\"path\":\"t.txt\",\"text\":\"t\"}]}");
    assert_verdict(outcome, "OK");
    assert_string_equal(outcome->out, "ht");
}

static void test_examples(void **ctx)
{
    (void)ctx;
    static const struct {
        const char *name, *lang, *part;
    } examples[] = {{"wordcount", "python", "   5  life\n"},
                    {"orders-by-customer", "javascript", "\"turnover\": 137.08"},
                    {"primes", "c", "1 to 50000000: 3001134 primes, the last is 49999991\n"},
                    {"route", "cpp", "250 min  Berlin - Leipzig - Erfurt - Nuernberg - Muenchen\n"},
                    {"nbody", "java", "energy before -0.167520134\n"}};
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        char path[512];
        if (!code_has_lang(&fixture, examples[i].lang)) {
            continue;
        }
        static char input[65536];
        snprintf(path, sizeof(path), "%s/examples/%s.task.json", SOURCE_ROOT, examples[i].name);
        int fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
        ssize_t got = read(fd, input, sizeof(input) - 1);
        close(fd);
        assert_true(got > 0);
        input[got] = 0;
        struct code_outcome *outcome = code_try(&fixture, input);
        assert_verdict(outcome, "OK");
        if (strstr(outcome->out, examples[i].part) == NULL) {
            fail_msg("%s wrote %s", examples[i].name, outcome->out);
        }

        /* the files inside are those beside it */
        struct json_value root, files, file, value;
        struct slice key, name, text;
        assert_int_equal(json_parse(fixture.parser, slice_of(input, (size_t)got), &root, NULL, NULL), STATUS_OK);
        assert_true(json_member(root, "files", &files));
        struct json_iter iter = json_iter_of(files);
        while (json_next(&iter, &key, &file)) {
            static char beside[65536];
            assert_true(json_member(file, "path", &value) && json_get_str(value, &name));
            assert_true(json_member(file, "text", &value) && json_get_str(value, &text));
            snprintf(path, sizeof(path), "%s/examples/%.*s", SOURCE_ROOT, SLICE_ARG(name));
            fd = open(path, O_RDONLY);
            assert_true(fd >= 0);
            got = read(fd, beside, sizeof(beside));
            close(fd);
            assert_true(slice_equal(slice_of(beside, (size_t)got), text));
        }
    }
}

/* --- verdicts -------------------------------------------------------------------------------------------------- */

static void test_exit_code_and_signal(void **ctx)
{
    (void)ctx;
    NEED("c");
    struct code_outcome *outcome = code_try_source(&fixture, "c", c_exit, "\"args\":[\"3\"]");
    assert_verdict(outcome, "RE");
    assert_int_equal(outcome->exit, 3);
    assert_int_equal(outcome->signal, -1);
    /* codes that shells use for signals are codes all the same: 139 = 128 + SIGSEGV, 159 = 128 + SIGSYS */
    outcome = code_try_source(&fixture, "c", c_exit, "\"args\":[\"139\"]");
    assert_verdict(outcome, "RE");
    assert_int_equal(outcome->exit, 139);
    outcome = code_try_source(&fixture, "c", c_exit, "\"args\":[\"159\"]");
    assert_verdict(outcome, "RE");
    assert_int_equal(outcome->exit, 159);
    outcome = code_try_source(&fixture, "c", "int main(void) { *(volatile int *)8 = 1; }\n", NULL);
    assert_verdict(outcome, "RE");
    assert_int_equal(outcome->exit, -1);
    assert_int_equal(outcome->signal, 11);
    outcome = code_try_source(&fixture, "c", "#include <stdlib.h>\nint main(void) { abort(); }\n", NULL);
    assert_verdict(outcome, "RE");
    assert_int_equal(outcome->signal, 6);
}

static void test_uncaught_errors(void **ctx)
{
    (void)ctx;
    static const struct {
        const char *lang, *source, *text;
    } cases[] = {{"python", "raise ValueError('boom')", "ValueError: boom"},
                 {"python", "def f(:", "SyntaxError"},
                 {"javascript", "throw new Error('boom')", "Error: boom"},
                 {"javascript", "let = = 3", "SyntaxError"},
                 {"java", "public class Main { public static void main(String[] a) { int[] x = {}; x[1] = 2; } }",
                  "ArrayIndexOutOfBounds"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        if (!code_has_lang(&fixture, cases[i].lang)) {
            continue;
        }
        struct code_outcome *outcome = code_try_source(&fixture, cases[i].lang, cases[i].source, NULL);
        assert_verdict(outcome, "RE");
        assert_int_equal(outcome->exit, 1);
        assert_non_null(strstr(outcome->err, cases[i].text));
    }
}

static void test_compile_error(void **ctx)
{
    (void)ctx;
    static const struct {
        const char *lang, *source, *text;
    } cases[] = {{"c", "int main(void) { return x; }", "main.c:1:"},
                 {"c", "int nothing(void) { return 0; }", "undefined reference to `main'"},
                 {"cpp", "int main() { std::string s; }", "main.cpp:1:"},
                 {"java", "public class Main { int f() { return \"x\"; } }", "Main.java:1: error:"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        if (!code_has_lang(&fixture, cases[i].lang)) {
            continue;
        }
        struct code_outcome *outcome = code_try_source(&fixture, cases[i].lang, cases[i].source, NULL);
        assert_verdict(outcome, "CE");
        assert_string_equal(outcome->phase, "compile");
        assert_int_equal(outcome->exit, 1);
        if (strstr(outcome->err, cases[i].text) == NULL) {
            fail_msg("%s is not in %s", cases[i].text, outcome->err);
        }
    }
}

static void test_time(void **ctx)
{
    (void)ctx;
    NEED("python");
    struct code_outcome *outcome =
        code_try_source(&fixture, "python", "while True: pass", "\"limits\":{\"cpu_ms\":300}");
    assert_verdict(outcome, "TLE");
    assert_true(outcome->cpu_ms >= 300 && outcome->cpu_ms < 600);
    outcome = code_try_source(&fixture, "python", "print('started', flush=True)\nimport time\ntime.sleep(60)",
                              "\"limits\":{\"wall_ms\":300}");
    assert_verdict(outcome, "TLE");
    assert_string_equal(outcome->out, "started\n");
    assert_true(outcome->wall_ms >= 300 && outcome->wall_ms < 1500);
    assert_true(outcome->cpu_ms < 300);
    /* children count too, even those that nobody waits for */
    outcome = code_try_source(
        &fixture, "python",
        "import os, time\nfor i in range(4):\n  if os.fork() == 0:\n    while True: pass\ntime.sleep(60)",
        "\"limits\":{\"cpu_ms\":400,\"wall_ms\":20000}");
    assert_verdict(outcome, "TLE");
    assert_true(outcome->wall_ms < 10000);
    /* stopping oneself does not stop the clock */
    outcome =
        code_try_source(&fixture, "python", "import os\nos.kill(os.getpid(), 19)", "\"limits\":{\"wall_ms\":300}");
    assert_verdict(outcome, "TLE");
}

static void test_memory(void **ctx)
{
    (void)ctx;
    static const struct {
        const char *lang, *source;
    } cases[] = {
        {"python", "x = []\nwhile True: x.append(bytearray(1 << 20))"},
        {"javascript", "const x = []; for (;;) x.push(Buffer.alloc(1 << 20, 1));"},
        {"c",
         "#include <stdlib.h>\n#include <string.h>\nint main(void) { for (;;) { char *p = malloc(1 << 20); if (p) memset(p, 1, 1 << 20); } }"},
        {"cpp",
         "#include <vector>\nint main() { std::vector<std::vector<char>> v; for (;;) v.emplace_back(1 << 20, 'x'); }"},
        {"java",
         "import java.util.*;\npublic class Main { public static void main(String[] a) {\n"
         "List<byte[]> x = new ArrayList<>(); for (;;) { byte[] b = new byte[1 << 20]; Arrays.fill(b, (byte) 1); x.add(b); } } }"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        if (!code_has_lang(&fixture, cases[i].lang)) {
            continue;
        }
        struct code_outcome *outcome =
            code_try_source(&fixture, cases[i].lang, cases[i].source, "\"limits\":{\"mem_mib\":128,\"cpu_ms\":20000}");
        assert_verdict(outcome, "MLE");
        assert_true(outcome->peak_mib >= 100);
    }
}

static void test_memory_of_a_child(void **ctx)
{
    (void)ctx;
    NEED("python");
    /* the parent goes on when the kernel kills the child: it is over the limit all the same */
    struct code_outcome *outcome = code_try_source(
        &fixture, "python",
        "import os\npid = os.fork()\nif pid == 0:\n  x = bytearray(300 << 20)\nelse:\n  os.waitpid(pid, 0)\n  print('parent')",
        "\"limits\":{\"mem_mib\":64}");
    assert_verdict(outcome, "MLE");
}

static void test_output(void **ctx)
{
    (void)ctx;
    NEED("python");
    struct code_outcome *outcome =
        code_try_source(&fixture, "python", "while True: print('x' * 1000)", "\"limits\":{\"out_kib\":16}");
    assert_verdict(outcome, "OLE");
    assert_true(outcome->is_truncated);
    assert_int_equal(outcome->out_len, 16 << 10);
    outcome = code_try_source(&fixture, "python", "import sys\nwhile True: sys.stderr.write('x' * 1000)",
                              "\"limits\":{\"out_kib\":8}");
    assert_verdict(outcome, "OLE");
    assert_int_equal(outcome->err_len, 8 << 10);
    /* exactly as much as allowed is not too much */
    outcome =
        code_try_source(&fixture, "python", "import sys\nsys.stdout.write('x' * 8192); sys.stderr.write('y' * 8192)",
                        "\"limits\":{\"out_kib\":16}");
    assert_verdict(outcome, "OK");
    assert_false(outcome->is_truncated);
    /* neither invalid nor unprintable bytes break the result */
    outcome = code_try_source(&fixture, "python", "import os\nos.write(1, b'a\\xff\\xc3\\x00\\x1b\"\\\\z' )", NULL);
    assert_verdict(outcome, "OK");
    assert_string_equal(outcome->out, "Yf/DABsiXHo="); /* base64 of exactly these */
    assert_non_null(memmem(outcome->result.data, outcome->result.len, "\"stdout_encoding\":\"base64\"", 26));
    outcome = code_try_source(&fixture, "python", "import os\nos.write(1, b'a\\xc3\\xa4\\x00\\x1b\"\\\\z' )", NULL);
    assert_verdict(outcome, "OK");
    assert_int_equal(outcome->out_len, 8);
    assert_memory_equal(outcome->out, "a\xc3\xa4\0\x1b\"\\z", 8);
    assert_null(memmem(outcome->result.data, outcome->result.len, "encoding", 8));
}

static void test_long_output_is_a_blob(void **ctx)
{
    (void)ctx;
    NEED("python");
    struct code_outcome *outcome = code_try_source(
        &fixture, "python", "import sys\nsys.stdout.write('0123456789' * 30000)", "\"limits\":{\"out_kib\":512}");
    assert_verdict(outcome, "OK");
    assert_true(outcome->is_truncated);
    assert_true(outcome->out_len > 39000 && outcome->out_len <= 40000);
    assert_int_equal(hub.uploaded_len, 300000);
    assert_memory_equal(hub.uploaded, "01234567890123456789", 20);
    char member[128];
    snprintf(member, sizeof(member), "\"stdout_blob\":\"sha256:%s\",\"stdout_size\":300000", hub.uploaded_hex);
    assert_non_null(strstr(buf_cstr(&outcome->result), member));
    /* the worst case for JSON still fits into a result */
    outcome =
        code_try_source(&fixture, "python", "import os\nos.write(1, b'\\1' * 60000); os.write(2, b'\\xff' * 60000)",
                        "\"limits\":{\"out_kib\":512}");
    assert_verdict(outcome, "OK");
    assert_true(outcome->is_truncated);
}

static void test_files_limit(void **ctx)
{
    (void)ctx;
    NEED("c");
    struct code_outcome *outcome = code_try_source(
        &fixture, "c",
        "#include <stdio.h>\n#include <errno.h>\nint main(void) { FILE *f = fopen(\"big\", \"w\"); long n = 0; static char b[65536];\n"
        "while (fwrite(b, 1, sizeof(b), f) == sizeof(b) && fflush(f) == 0) n += sizeof(b);\n"
        "printf(\"%ld %d\\n\", n >> 20, errno); return 7; }",
        "\"limits\":{\"fs_mib\":8,\"mem_mib\":64}");
    assert_verdict(outcome, "RE");
    assert_int_equal(outcome->exit, 7);
    long mib = 0;
    int error = 0;
    assert_int_equal(sscanf(outcome->out, "%ld %d", &mib, &error), 2);
    assert_int_equal(error, ENOSPC);
    assert_true(mib >= 7 && mib <= 8);
}

static void test_compile_limits(void **ctx)
{
    (void)ctx;
    NEED("c");
    /* a program larger than the compile step may write */
    struct code_outcome *outcome =
        code_try_source(&fixture, "c", "char big[1 << 30] = {1};\nint main(void) { return big[5]; }", NULL);
    assert_true(outcome->is_success);
    assert_string_equal(outcome->phase, "compile");
    assert_string_not_equal(outcome->verdict, "OK");
    /* the compiler sees no more of the machine than the program */
    outcome = code_try_source(&fixture, "c", "#include \"/etc/shadow\"\nint main(void) { return 0; }", NULL);
    assert_verdict(outcome, "CE");
    assert_non_null(strstr(outcome->err, "No such file"));
}

/* --- cache ----------------------------------------------------------------------------------------------------- */

static void test_cache(void **ctx)
{
    (void)ctx;
    NEED("c");
    static const char source[] = "int main(int c, char **v) { (void)v; return c; } /* of the cache test */";
    struct code_outcome *outcome = code_try_source(&fixture, "c", source, NULL);
    assert_false(outcome->is_cached);
    outcome = code_try_source(&fixture, "c", source, "\"args\":[\"other arguments\"],\"stdin\":\"x\"");
    assert_true(outcome->is_cached);
    assert_int_equal(outcome->exit, 2);
    outcome = code_try_source(&fixture, "c", source, "\"flags\":[\"-O0\"]");
    assert_false(outcome->is_cached);
    /* flags for the linker and for the compiler in the same order of words are not the same */
    outcome = code_try_source(&fixture, "cpp", "int main(){}", NULL);
    assert_false(outcome->is_cached);

    /* from the disk, by a second node with the same data */
    struct code_fixture again = fixture;
    assert_int_equal(uv_loop_init(&again.loop.uv), 0);
    again.env.loop = &again.loop;
    again.parser = json_parser_new();
    buf_init(&again.facts, 65536);
    buf_init(&again.why, 65536);
    assert_int_equal(code_run_launcher.open(&again.env, &again.state, &again.facts, &again.why), STATUS_OK);
    struct code_outcome second;
    struct buf input;
    buf_init(&input, 4096);
    buf_append_str(&input, "{\"lang\":\"c\",\"files\":[{\"path\":\"main.c\",\"text\":");
    json_write_str(&input, slice_str(source));
    buf_append_str(&input, "}]}");
    code_start(&again, 0, buf_cstr(&input), &second);
    code_finish(&again, &second);
    assert_true(second.is_cached);
    assert_int_equal(second.exit, 1);
    buf_free(&second.result);
    buf_free(&input);
    code_run_launcher.close(again.state);
    uv_run(&again.loop.uv, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&again.loop.uv), 0);
    buf_free(&again.facts);
    json_parser_free(again.parser);
}

/* --- blobs ----------------------------------------------------------------------------------------------------- */

static struct code_outcome *try_blob(const char *hex)
{
    char input[512];
    snprintf(input, sizeof(input),
             "{\"lang\":\"python\",\"files\":[{\"path\":\"main.py\",\"text\":\"print(open('b').read())\"},"
             "{\"path\":\"b\",\"blob\":\"sha256:%s\"}]}",
             hex);
    return code_try(&fixture, input);
}

static void test_blobs(void **ctx)
{
    (void)ctx;
    NEED("python");
    hub_has("content of a blob");
    hub.gets = 0;
    struct code_outcome *outcome = try_blob(hub.content_hex);
    assert_verdict(outcome, "OK");
    assert_string_equal(outcome->out, "content of a blob\n");
    outcome = try_blob(hub.content_hex);
    assert_verdict(outcome, "OK");
    assert_int_equal(hub.gets, 1); /* the second came from the store */

    char hex[SHA256_HEX_SIZE];
    memset(hex, 'a', 64);
    hex[64] = 0;
    outcome = try_blob(hex);
    assert_false(outcome->is_success);
    assert_true(outcome->is_final);
    assert_string_equal(outcome->error_kind, "input");
    assert_non_null(strstr(outcome->message, "/files/1/blob"));

    hub.is_lying = true;
    outcome = try_blob(hex);
    hub.is_lying = false;
    assert_false(outcome->is_success);
    assert_false(outcome->is_final);
    assert_string_equal(outcome->error_kind, "blob");
}

/* What is too large is known before a byte of it is asked for, also when each file alone would fit. */
static void test_blobs_are_weighed_first(void **ctx)
{
    (void)ctx;
    NEED("python");
    hub_has("another content");
    struct buf input;
    buf_init(&input, 65536);
    for (int files = 2; files <= 3; files++) {
        hub.gets = hub.heads = 0;
        hub.claimed_size = 30 << 20; /* of 64 MiB that the files may take */
        buf_reset(&input);
        buf_append_str(&input, "{\"lang\":\"python\",\"files\":[{\"path\":\"main.py\",\"text\":\"\"}");
        for (int i = 0; i < files; i++) {
            buf_printf(&input, ",{\"path\":\"%d\",\"blob\":\"sha256:%s\"}", i, hub.content_hex);
        }
        buf_append_str(&input, "]}");
        struct code_outcome *outcome = code_try(&fixture, buf_cstr(&input));
        assert_int_equal(hub.heads, 1);
        assert_int_equal(hub.gets, files == 2);
        assert_int_equal(outcome->is_success, files == 2);
        if (files == 3) {
            assert_true(outcome->is_final);
            assert_non_null(strstr(outcome->message, "fs_mib"));
        }
        hub.claimed_size = 0;
        hub_has("a third content");
    }
    buf_free(&input);
}

/* Boxes that together need more than the node has run one after the other; one that waits can be cancelled. */
static void test_waits_for_memory(void **ctx)
{
    (void)ctx;
    NEED("python");
    static const char input[] = "{\"lang\":\"python\",\"limits\":{\"mem_mib\":65536},\"files\":[{\"path\":\"main.py\","
                                "\"text\":\"import time\\ntime.sleep(0.2)\"}]}";
    static struct code_outcome outcomes[3];
    struct work_run *runs[3];
    if (memmem(fixture.facts.data, fixture.facts.len, "\"sandbox_memory_mib\":4294967295", 31) != NULL) {
        skip();
    }
    for (uint32_t i = 0; i < 3; i++) {
        runs[i] = code_start(&fixture, i, input, &outcomes[i]);
    }
    code_finish(&fixture, &outcomes[0]);
    assert_verdict(&outcomes[0], "OK");
    assert_int_equal(outcomes[1].calls + outcomes[2].calls, 0);
    code_run_launcher.cancel(runs[2]); /* it waits for the second */
    assert_int_equal(outcomes[2].calls, 0);
    code_finish(&fixture, &outcomes[2]);
    assert_string_equal(outcomes[2].error_kind, "cancelled");
    assert_int_equal(outcomes[1].calls, 0);
    code_finish(&fixture, &outcomes[1]);
    assert_verdict(&outcomes[1], "OK");
    for (uint32_t i = 0; i < 3; i++) {
        buf_free(&outcomes[i].result);
    }
    code_fixture_check_clean(&fixture);
}

/* --- cancel ---------------------------------------------------------------------------------------------------- */

static void cancel_timer(uv_timer_t *timer)
{
    code_run_launcher.cancel(timer->data);
    uv_close((uv_handle_t *)timer, NULL);
}

static void test_cancel(void **ctx)
{
    (void)ctx;
    NEED("python");
    NEED("cpp");
    static const char *const inputs[] = {
        "{\"lang\":\"python\",\"files\":[{\"path\":\"main.py\",\"text\":\"import os,time\\nos.fork()\\ntime.sleep(60)\"}]}",
        "{\"lang\":\"cpp\",\"files\":[{\"path\":\"main.cpp\",\"text\":\"#include <regex>\\n#include <map>\\n#include <iostream>\\n"
        "int main() { std::regex r(\\\"a\\\"); while (1); } // cancelled\"}]}"};
    static const unsigned delays_ms[] = {0, 1, 3, 10, 30, 200};
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < sizeof(delays_ms) / sizeof(*delays_ms); j++) {
            struct code_outcome outcome;
            struct work_run *run = code_start(&fixture, 0, inputs[i], &outcome);
            uv_timer_t timer;
            uv_timer_init(&fixture.loop.uv, &timer);
            timer.data = run;
            uv_timer_start(&timer, cancel_timer, delays_ms[j], 0);
            int64_t before = (int64_t)uv_hrtime();
            code_finish(&fixture, &outcome);
            uv_run(&fixture.loop.uv, UV_RUN_DEFAULT);
            assert_false(outcome.is_success);
            assert_string_equal(outcome.error_kind, "cancelled");
            assert_true((int64_t)uv_hrtime() - before < 3000000000);
            code_fixture_check_clean(&fixture);
            buf_free(&outcome.result);
        }
    }
    /* cancel twice, and right after start */
    struct code_outcome outcome;
    struct work_run *run = code_start(&fixture, 1, inputs[0], &outcome);
    code_run_launcher.cancel(run);
    code_run_launcher.cancel(run);
    assert_int_equal(outcome.calls, 0);
    code_finish(&fixture, &outcome);
    assert_string_equal(outcome.error_kind, "cancelled");
    buf_free(&outcome.result);
}

/* --- side by side ---------------------------------------------------------------------------------------------- */

static void test_slots_side_by_side(void **ctx)
{
    (void)ctx;
    NEED("python");
    struct code_outcome outcomes[FIXTURE_SLOTS];
    for (uint32_t slot = 0; slot < FIXTURE_SLOTS; slot++) {
        char input[256];
        snprintf(
            input, sizeof(input),
            "{\"lang\":\"python\",\"files\":[{\"path\":\"main.py\",\"text\":\"import time\\ntime.sleep(0.2)\\nprint(%u)\"}]}",
            slot);
        code_start(&fixture, slot, input, &outcomes[slot]);
    }
    for (uint32_t slot = 0; slot < FIXTURE_SLOTS; slot++) {
        char text[16];
        code_finish(&fixture, &outcomes[slot]);
        assert_verdict(&outcomes[slot], "OK");
        snprintf(text, sizeof(text), "%u\n", slot);
        assert_string_equal(outcomes[slot].out, text);
        buf_free(&outcomes[slot].result);
    }
    code_fixture_check_clean(&fixture);
}

static void test_bad_input(void **ctx)
{
    (void)ctx;
    struct code_outcome *outcome =
        code_try(&fixture, "{\"lang\":\"cobol\",\"files\":[{\"path\":\"a\",\"text\":\"\"}]}");
    assert_false(outcome->is_success);
    assert_true(outcome->is_final);
    assert_string_equal(outcome->error_kind, "input");
    assert_non_null(strstr(outcome->message, "/lang"));
    outcome = code_try(&fixture, "{\"lang\":");
    assert_true(outcome->is_final);
    outcome = code_try(
        &fixture,
        "{\"lang\":\"c\",\"files\":[{\"path\":\"main.c\",\"text\":\"\"}],\"flags\":[\"-wrapper\",\"/bin/sh\"]}");
    assert_true(outcome->is_final);
    assert_non_null(strstr(outcome->message, "/flags/0"));
}

static void test_facts(void **ctx)
{
    (void)ctx;
    struct json_value root, value;
    assert_int_equal(json_parse(fixture.parser, buf_slice(&fixture.facts), &root, NULL, NULL), STATUS_OK);
    assert_true(json_member(root, "sandbox", &value) && json_type_of(value) == JSON_OBJECT);
    assert_true(json_member(value, "limits", &value));
    assert_true(json_member(root, "languages", &value) && json_count(value) > 0);
    assert_true(json_member(root, "sandbox_proof", &value) && json_member(value, "passed", &value));
}

int main(void)
{
    sandbox_gate();
#define T(name) cmocka_unit_test(test_##name)
    const struct CMUnitTest tests[] = {
        T(facts),
        T(python),
        T(javascript),
        T(c),
        T(cpp),
        T(java),
        T(files_and_entry),
        T(examples),
        T(exit_code_and_signal),
        T(uncaught_errors),
        T(compile_error),
        T(time),
        T(memory),
        T(memory_of_a_child),
        T(output),
        T(long_output_is_a_blob),
        T(files_limit),
        T(compile_limits),
        T(cache),
        T(blobs),
        T(blobs_are_weighed_first),
        T(waits_for_memory),
        T(cancel),
        T(slots_side_by_side),
        T(bad_input),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
