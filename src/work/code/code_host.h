/* code_host.h - which languages this machine can offer, found out by running each in a sandbox. */
#ifndef SHOAL_WORK_CODE_CODE_HOST_H
#define SHOAL_WORK_CODE_CODE_HOST_H

#include "base/buf.h"
#include "base/status.h"
#include "work/code/code_lang.h"
#include "work/code/code_store.h"
#include "work/sandbox/sandbox.h"

#define CODE_BINDS_MAX 4

struct code_host_lang {
    bool is_offered;
    char version[64];
    char runtime[256]; /* path; "" when the language has none */
    char compiler[256];
    const char *binds[CODE_BINDS_MAX + 1]; /* what lies outside of /usr; owned strings, ended by NULL */
    char why[256];                         /* why it is not offered */
};

struct code_host {
    struct code_host_lang langs[LANG_COUNT];
    int unbuffer_fd;  /* the library that makes stdout of C and C++ line-buffered (unbuffer.c); -1 */
    int java_tool_fd; /* the compiler's helper as an archive (CompileToJar.java); -1 */
};

/* Looks for every language; blocks, on a loop of its own that `sandbox` is on at the moment. UNSUPPORTED_HOST when there
 * is none at all. `store` keeps the compiled helper. */
STATUS_MUST_CHECK enum status code_host_open(struct code_host *host, struct sandbox_host *sandbox, uv_loop_t *loop,
                                             struct code_store *store, struct buf *ret_why);
/* Only finds the programs, without running one: fills `runtime`, `compiler`, `binds` and `why`. */
void code_host_look(struct code_host *host);
void code_host_close(struct code_host *host);
/* Appends {"python":"3.11.2",…}. */
void code_host_facts(const struct code_host *host, struct buf *out);

/* The argument lists. Items are borrowed from the arguments, or owned by `strings`; ended by NULL. */
#define CODE_ARGV_MAX 512
struct code_command {
    const char *argv[CODE_ARGV_MAX];
    size_t count;
    const char *env[3]; /* ended by NULL */
    char texts[4][64];  /* made-up arguments live here */
    char class_name[256];
};
struct code_input;
/* Compiles all sources of the input into SANDBOX_OUT_FD. */
void code_command_compile(const struct code_host *host, const struct code_input *input,
                          struct code_command *ret_command);
/* The key of what compiling the input makes: everything that it depends on, compiler, flags, and the files by path and
 * content, in the order in which they are given, for that is the order of linking, in which C++ runs the constructors of
 * its globals. `scope`: among whom it is shared; users of another could see by the time it takes what was compiled before.
 * False without memory. */
bool code_compile_key(const struct code_host *host, const struct code_input *input, const char *scope,
                      char ret_key[SHA256_HEX_SIZE]);
void code_command_run(const struct code_host *host, const struct code_input *input, struct code_command *ret_command);

#define CODE_PROGRAM_PATH "/shoal/program" /* what the compile step made, in the run's sandbox */
#define CODE_JAVA_TOOL_PATH "/shoal/compile.jar"
#define CODE_UNBUFFER_PATH "/shoal/unbuffer.so"

#endif
