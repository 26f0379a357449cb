/* scenario_internal.h - what the files of the scenario reader share. Each statement has a function here; it takes the words
 * behind its first one from parser->words. What may stand below its use (a flow, a phase, a start) is kept as a word with its place and
 * looked up when the text has been read (scenario_check). */
#ifndef SHOAL_BENCH_SCENARIO_INTERNAL_H
#define SHOAL_BENCH_SCENARIO_INTERNAL_H

#include "base/words.h"
#include "bench/scenario.h"

#define SCENARIO_DEFINES_MAX 64
#define SCENARIO_FILE_SIZE_MAX (64u << 20) /* CSV, trace, body */
#define SCENARIO_TIME_MAX (INT64_C(30) * 24 * 3600 * 1000000000)

/* Where a variable is known, beside in a flow. */
#define VARIABLE_EVERYWHERE (-1)
#define VARIABLE_NOWHERE (-2)

struct scenario_define {
    struct slice name, value;
    bool is_given; /* from outside: a `let` does not change it */
    bool is_used;
};

struct parser {
    struct scenario *scenario;
    struct words words;
    const char *folder;
    struct scenario_define defines[SCENARIO_DEFINES_MAX];
    uint32_t define_count;
    struct scenario_flow *flow; /* to which steps belong now; NULL: none */
    uint32_t target_line;
    bool has_title, has_seed, has_sample;
    int variable_flow[SCENARIO_VARIABLES_MAX]; /* the flow that takes it, or one of the below */
    /* what is looked up in the end; the line is that of the statement */
    struct words_word target, start_to[SCENARIO_STARTS_MAX], phase_flows[SCENARIO_PHASES_MAX],
        fault_target[SCENARIO_FAULTS_MAX], fault_phase[SCENARIO_FAULTS_MAX], gate_metric[SCENARIO_GATES_MAX];
};

/* Memory that lives as long as the scenario; zeroed. NULL without memory. */
void *scenario_alloc(struct scenario *scenario, size_t size);
/* A mistake that was found after its line. `word` NULL: the line as a whole. */
#define complain_at(parser, at_line, word, ...)                                                                        \
    ((parser)->words.line = (at_line), (parser)->words.end_column = 1,                                                 \
     words_complain(&(parser)->words, (word), __VA_ARGS__))
enum status complain_memory(struct parser *parser);
/* Copies a word to a string; a mistake when it is longer. `what` as in words_take. */
STATUS_MUST_CHECK enum status copy_word(struct parser *parser, const struct words_word *word, const char *what,
                                        char *ret, size_t size);
/* Reads a file of the scenario's folder into its memory. */
STATUS_MUST_CHECK enum status read_file(struct parser *parser, const struct words_word *word, struct slice *ret_text);

/* scenario_text.c: texts, variables, feeds */
STATUS_MUST_CHECK enum status variable_add(struct parser *parser, const struct words_word *word, struct slice name,
                                           int flow, int *ret_variable);
struct text_builder {
    struct scenario_part parts[64];
    uint32_t count;
};
STATUS_MUST_CHECK enum status text_append(struct parser *parser, struct text_builder *builder,
                                          const struct words_word *word);
STATUS_MUST_CHECK enum status text_append_literal(struct parser *parser, struct text_builder *builder,
                                                  const struct words_word *word, struct slice literal);
STATUS_MUST_CHECK enum status text_finish(struct parser *parser, const struct text_builder *builder,
                                          struct scenario_text *ret_text);
STATUS_MUST_CHECK enum status text_of(struct parser *parser, const struct words_word *word,
                                      struct scenario_text *ret_text);
/* A word that is no text with variables: $$ is $. */
STATUS_MUST_CHECK enum status literal_of(struct parser *parser, struct slice word, struct slice *ret_text);
STATUS_MUST_CHECK enum status scenario_read_feed(struct parser *parser);
/* The parts of a feed that reads a CSV text, and of a trace; for tests as well. `text` is changed and kept. */
STATUS_MUST_CHECK enum status feed_read_csv(struct parser *parser, const struct words_word *word, struct slice text,
                                            struct scenario_feed *feed);

/* scenario_flow.c */
STATUS_MUST_CHECK enum status scenario_read_flow(struct parser *parser);
/* NOT_FOUND: the first word begins no step. */
STATUS_MUST_CHECK enum status scenario_read_step(struct parser *parser);
extern const char *const scenario_steps[];

/* scenario_phase.c */
STATUS_MUST_CHECK enum status scenario_read_phase(struct parser *parser);
STATUS_MUST_CHECK enum status trace_read(struct parser *parser, const struct words_word *word, struct slice text,
                                         struct schedule *schedule);

/* scenario_fault.c: what is started, and what happens to it */
STATUS_MUST_CHECK enum status scenario_read_start(struct parser *parser);
STATUS_MUST_CHECK enum status scenario_read_fault(struct parser *parser);
/* What owns a name: that of a start, or of one of its nodes; NULL when there is none. */
const struct scenario_start *scenario_find_start(const struct scenario *scenario, struct slice name);

/* scenario_gate.c */
STATUS_MUST_CHECK enum status scenario_read_gate(struct parser *parser);
/* Whether phase, step, process and fault in the metric's name exist. */
STATUS_MUST_CHECK enum status scenario_check_gate(struct parser *parser, uint32_t gate);

/* scenario_check.c: what can be said only when all has been read */
STATUS_MUST_CHECK enum status scenario_check(struct parser *parser, bool needs_phases);

#endif
