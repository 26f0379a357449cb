/* claims_write.c - verdicts as a table, as JSON, as a summary, and as reports in the layout of their sources. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/json.h"
#include "bench/claims_internal.h"

#define GAPS_SHOWN 10
#define VALUE_SIZE 48

static const char *const scale_words[CLAIM_SCALE_COUNT] = {
    [CLAIM_USERS] = "users",    [CLAIM_SECONDS] = "time", [CLAIM_REQUESTS] = "requests",
    [CLAIM_SESSIONS] = "nodes", [CLAIM_RATE] = "rate",    [CLAIM_CONNECTIONS] = "connections",
    [CLAIM_BYTES] = "size",
};
static const char *const signs[CLAIM_VERDICT_COUNT] = {
    [CLAIM_MET] = "✓",       [CLAIM_MISSED] = "✗",         [CLAIM_SCALED] = "~",
    [CLAIM_NOT_BUILT] = "–", [CLAIM_NOT_COMPARABLE] = "·", [CLAIM_INCONSISTENT] = "≠",
};

void claim_value_text(const struct claim *claim, double value, char *ret, size_t size)
{
    const char *space = slice_equal_str(claim->unit, "n") || claim->unit.len == 0 ? "" : " ";
    struct slice unit = space[0] != '\0' ? claim->unit : (struct slice){"", 0};
    double magnitude = fabs(value);
    if (isinf(value)) {
        snprintf(ret, size, "never");
    } else if (slice_equal_str(claim->unit, "bool")) {
        snprintf(ret, size, "%s", value != 0 ? "yes" : "no");
    } else if (value == rint(value) && magnitude < 1e9) {
        snprintf(ret, size, "%.0f%s%.*s", value, space, SLICE_ARG(unit));
    } else {
        /* three digits that count, more of a percentage near 100 */
        bool is_near_100 = slice_equal_str(claim->unit, "%") && magnitude > 99 && magnitude < 100;
        snprintf(ret, size, "%.*f%s%.*s",
                 is_near_100         ? 3
                 : magnitude >= 1000 ? 0
                 : magnitude >= 100  ? 1
                 : magnitude >= 1    ? 2
                                     : (int)fmin(9, 2 - floor(log10(magnitude + 1e-12))),
                 value, space, SLICE_ARG(unit));
    }
}

static void claimed_text(const struct claim *claim, char *ret, size_t size)
{
    bool has_op = !slice_equal_str(claim->op, "=");
    if (slice_equal_str(claim->unit, "bool")) {
        claim_value_text(claim, claim->value, ret, size);
        return;
    }
    const char *space = slice_equal_str(claim->unit, "n") ? "" : " ";
    snprintf(ret, size, "%.*s%s%.*s%s%.*s", (int)(has_op ? claim->op.len : 0), claim->op.data, has_op ? " " : "",
             SLICE_ARG(claim->claimed), space, (int)(space[0] != '\0' ? claim->unit.len : 0), claim->unit.data);
}

/* What is to be said about a claim besides its numbers. */
static void note_text(const struct claim *claim, char *ret, size_t size)
{
    ret[0] = '\0';
    if (claim->is_measured && claim->scale < 1) {
        snprintf(ret, size, "%.3g of the source's %s%s%s%s", claim->scale, scale_words[claim->scaled],
                 claim->is_reached ? "; the value is reached" : "; the value is not reached",
                 claim->note[0] != '\0' ? "; " : "", claim->note);
    } else {
        snprintf(ret, size, "%s", claim->note);
    }
}

void claims_write_table(const struct claims *claims, struct buf *out)
{
    buf_append_str(out, "id\tsource\tclass\tclaimed\tmeasured\tverdict\trun\tnote\tdoubt\n");
    for (uint32_t i = 0; i < claims->count; i++) {
        const struct claim *claim = &claims->claims[i];
        char claimed[VALUE_SIZE * 2], measured[VALUE_SIZE] = "", note[320];
        if (!claim->is_chosen) {
            continue;
        }
        claimed_text(claim, claimed, sizeof(claimed));
        if (claim->is_measured) {
            claim_value_text(claim, claim->measured, measured, sizeof(measured));
        }
        note_text(claim, note, sizeof(note));
        buf_printf(out, "%.*s\t%.*s\t%c\t%s\t%s\t%s\t%s\t%s\t%s\n", SLICE_ARG(claim->id), SLICE_ARG(claim->source),
                   claim->class, claimed, measured, claim_verdict_name(claim->verdict),
                   claim->run != NULL && claim->is_measured ? claim->run : "", note, claim->doubt);
    }
}

static void string_member(struct buf *out, const char *name, struct slice value)
{
    buf_printf(out, ",\"%s\":", name);
    json_write_str(out, value);
}

void claims_write_json(const struct claims *claims, struct buf *out)
{
    const char *comma = "";
    buf_append_str(out, "{\"schema\":\"shoal.claims.v1\",\"claims\":[");
    for (uint32_t i = 0; i < claims->count; i++) {
        const struct claim *claim = &claims->claims[i];
        char note[320];
        if (!claim->is_chosen) {
            continue;
        }
        buf_append_str(out, comma);
        comma = ",";
        buf_append_str(out, "\n{\"id\":");
        json_write_str(out, claim->id);
        string_member(out, "source", claim->source);
        string_member(out, "class", slice_of(&claim->class, 1));
        string_member(out, "claimed", claim->claimed);
        string_member(out, "unit", claim->unit);
        string_member(out, "verdict", slice_str(claim_verdict_name(claim->verdict)));
        if (claim->is_measured) {
            string_member(out, "run", slice_str(claim->run));
            if (isfinite(claim->measured)) {
                buf_append_str(out, ",\"measured\":");
                json_write_double(out, claim->measured);
            }
            buf_printf(out, ",\"is_reached\":%s,\"scale\":%.9g", claim->is_reached ? "true" : "false", claim->scale);
        }
        note_text(claim, note, sizeof(note));
        if (note[0] != '\0') {
            string_member(out, "note", slice_str(note));
        }
        if (claim->doubt[0] != '\0') {
            string_member(out, "doubt", slice_str(claim->doubt));
        }
        buf_append_str(out, "}");
    }
    buf_append_str(out, "\n]}\n");
}

/* --- the plan --- */

static void plan_text(const struct claims *claims, const struct claim *claim, char *ret, size_t size)
{
    const struct claim_rule *rule = claim->rule;
    struct claim_captures captures;
    char run[BENCH_NAME_SIZE], metric[1024];
    if (rule->kind != RULE_MEASURE) {
        snprintf(ret, size, "%s: %.*s",
                 claim_verdict_name(rule->kind == RULE_UNBUILT ? CLAIM_NOT_BUILT : CLAIM_NOT_COMPARABLE),
                 SLICE_ARG(rule->text));
        return;
    }
    bool is_filled = claim_matches(claim, rule->pattern, &captures) &&
                     claim_fill(claims, claim, &captures, rule->run, run, sizeof(run)) &&
                     claim_fill(claims, claim, &captures, rule->metric, metric, sizeof(metric));
    ensure(is_filled);
    snprintf(ret, size, "run %s: %s", run, metric);
}

void claims_write_plan(const struct claims *claims, bool is_json, struct buf *out)
{
    for (uint32_t i = 0; i < claims->count; i++) {
        const struct claim *claim = &claims->claims[i];
        char claimed[VALUE_SIZE * 2], plan[1200];
        if (!claim->is_chosen) {
            continue;
        }
        claimed_text(claim, claimed, sizeof(claimed));
        plan_text(claims, claim, plan, sizeof(plan));
        if (is_json) {
            buf_append_str(out, "{\"id\":");
            json_write_str(out, claim->id);
            string_member(out, "source", claim->source);
            string_member(out, "class", slice_of(&claim->class, 1));
            string_member(out, "title", claim->title);
            string_member(out, "load", claim->load);
            string_member(out, "claimed", claim->claimed);
            string_member(out, "unit", claim->unit);
            string_member(out, "plan", slice_str(plan));
            buf_append_str(out, "}\n");
        } else {
            buf_printf(out, "%-34.*s %-20s %s\n", SLICE_ARG(claim->id), claimed, plan);
        }
    }
}

/* --- the summary --- */

static void write_counts(struct buf *out, struct slice name, const uint32_t counts[CLAIM_VERDICT_COUNT])
{
    uint32_t all = 0;
    for (unsigned i = 0; i < CLAIM_VERDICT_COUNT; i++) {
        all += counts[i];
    }
    buf_printf(out, "%-18.*s %7u", SLICE_ARG(name), all);
    for (unsigned i = 0; i < CLAIM_VERDICT_COUNT; i++) {
        buf_printf(out, " %*u", (int)strlen(claim_verdict_name((enum claim_verdict)i)), counts[i]);
    }
    buf_append_str(out, "\n");
}

struct behind {
    const struct claim *claim;
};

static int by_gap(const void *a, const void *b)
{
    const struct claim *left = ((const struct behind *)a)->claim, *right = ((const struct behind *)b)->claim;
    if (left->verdict != right->verdict) { /* what was measured at full size comes first */
        return left->verdict == CLAIM_MISSED ? -1 : 1;
    }
    return left->gap_for_size < right->gap_for_size   ? 1
           : left->gap_for_size > right->gap_for_size ? -1
           : left < right                             ? -1
                                                      : 1;
}

static void write_gaps(const struct claims *claims, struct buf *out)
{
    struct behind *worst = calloc((size_t)claims->count + 1, sizeof(*worst));
    if (worst == NULL) {
        return;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < claims->count; i++) {
        const struct claim *claim = &claims->claims[i];
        bool is_behind =
            claim->verdict == CLAIM_MISSED || (claim->verdict == CLAIM_SCALED && claim->gap_for_size > 1.01);
        if (is_behind && claim->is_chosen) {
            worst[count++].claim = claim;
        }
    }
    qsort(worst, count, sizeof(*worst), by_gap);
    buf_printf(out, "\n%u measured values are worse than claimed%s\n", count,
               count > GAPS_SHOWN ? "; the ten that are farthest off:"
               : count > 0        ? ":"
                                  : ".");
    for (uint32_t i = 0; i < count && i < GAPS_SHOWN; i++) {
        const struct claim *claim = worst[i].claim;
        char claimed[VALUE_SIZE * 2], measured[VALUE_SIZE] = "nothing", note[320], gap[24] = "";
        claimed_text(claim, claimed, sizeof(claimed));
        if (claim->is_measured) {
            claim_value_text(claim, claim->measured, measured, sizeof(measured));
        }
        if (isfinite(claim->gap_for_size)) {
            snprintf(gap, sizeof(gap), "%.2fx off", claim->gap_for_size);
        }
        note_text(claim, note, sizeof(note));
        buf_printf(out, "  %-28.*s claimed %-16s measured %-14s %-10s %s%s%s\n", SLICE_ARG(claim->id), claimed,
                   measured, gap, claim_verdict_name(claim->verdict), note[0] != '\0' ? ": " : "", note);
    }
    free(worst);
}

static void write_contradictions(const struct claims *claims, struct buf *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < claims->count; i++) {
        count += claims->claims[i].is_chosen && claims->claims[i].doubt[0] != '\0';
    }
    buf_printf(out, "\n%u numbers do not fit their own source%s\n", count, count > 0 ? ":" : ".");
    for (uint32_t i = 0; i < claims->count; i++) {
        const struct claim *claim = &claims->claims[i];
        if (claim->is_chosen && claim->doubt[0] != '\0') {
            buf_printf(out, "  %-28.*s %s%s\n", SLICE_ARG(claim->id), claim->doubt,
                       claim->verdict == CLAIM_INCONSISTENT ? "" : " (doubtful)");
        }
    }
}

void claims_write_summary(const struct claims *claims, struct buf *out)
{
    uint32_t counts[CLAIM_VERDICT_COUNT];
    buf_printf(out, "%-18s %7s", "source", "claims");
    for (unsigned i = 0; i < CLAIM_VERDICT_COUNT; i++) {
        buf_printf(out, " %s", claim_verdict_name((enum claim_verdict)i));
    }
    buf_append_str(out, "\n");
    for (unsigned i = 0; i < claims_sources(claims); i++) {
        claims_count(claims, i, counts);
        write_counts(out, claims_source(claims, i), counts);
    }
    claims_count(claims, UINT32_MAX, counts);
    write_counts(out, slice_str("all"), counts);
    write_gaps(claims, out);
    write_contradictions(claims, out);
}

/* --- reports --- */

static void write_cell(const struct claim *claim, struct buf *out)
{
    char text[VALUE_SIZE];
    if (!claim->is_chosen) {
        buf_append_str(out, " ");
        return;
    }
    if (!claim->is_measured) {
        buf_append_str(out, signs[claim->verdict]);
        return;
    }
    claim_value_text(claim, claim->measured, text, sizeof(text));
    buf_printf(out, "%s %s", text, signs[claim->verdict]);
}

/* Ids may hold braces of their own: "{S0.10/GET_/tasks/{id}#avg}". */
static bool take_id(struct slice text, struct slice *ret_id)
{
    unsigned depth = 0;
    for (size_t i = 0; i < text.len && text.data[i] != '\n'; i++) {
        depth += text.data[i] == '{';
        if (text.data[i] == '}' && --depth == 0) {
            *ret_id = slice_of(text.data + 1, i - 1);
            return true;
        }
    }
    return false;
}

void claims_write_report(const struct claims *claims, unsigned source, struct buf *out)
{
    struct slice text = claims_template(source);
    uint32_t counts[CLAIM_VERDICT_COUNT];
    while (text.len > 0) {
        const char *brace = memchr(text.data, '{', text.len);
        size_t plain = brace != NULL ? (size_t)(brace - text.data) : text.len;
        buf_append(out, text.data, plain);
        text = slice_of(text.data + plain, text.len - plain);
        struct slice id = {NULL, 0};
        const struct claim *claim = text.len > 0 && take_id(text, &id) ? claim_find(claims, id) : NULL;
        size_t used = text.len > 0 ? 1 : 0;
        if (claim != NULL) {
            write_cell(claim, out);
            used = id.len + 2;
        } else if (used > 0) {
            buf_append(out, text.data, 1);
        }
        text = slice_of(text.data + used, text.len - used);
    }
    claims_count(claims, source, counts);
    buf_append_str(out, "\n---\n\n");
    for (unsigned i = 0; i < CLAIM_VERDICT_COUNT; i++) {
        buf_printf(out, "%s%s %s: %u", i > 0 ? " · " : "", signs[i], claim_verdict_name((enum claim_verdict)i),
                   counts[i]);
    }
    buf_append_str(
        out,
        "\n\nEvery number above was measured by `shoal bench verify`; none is the source's. A ~ was measured with fewer users, "
        "less time or smaller things than the source's test.\n");
}
