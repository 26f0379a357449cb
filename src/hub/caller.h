/* caller.h - who asks: what shares of the core's tables are counted by, and what one is told who has no more. Pure. */
#ifndef SHOAL_HUB_CALLER_H
#define SHOAL_HUB_CALLER_H

#include "core/core.h"

/* The caller behind a peer's address ("1.2.3.4:5678", "[2001:db8::1]:5678"): all ports of an IPv4 address are one, as is an
 * IPv6 network of 64 bits, which is what one subscriber gets. 127.0.0.1 and ::1 are the operator. */
struct command_caller caller_of_peer(const char *peer);
/* Whoever shows the API key is the operator too, from wherever. */
struct command_caller caller_operator(void);
/* Why a reply with TABLE_SHARE or TABLE_FULL was one, and what to do: a sentence in ret_text. */
#define CALLER_TEXT_SIZE 320
void caller_refusal(const struct core *core, const struct effect_reply *reply, char ret_text[CALLER_TEXT_SIZE]);
static inline bool caller_is_refusal(enum status status)
{
    return status == STATUS_TABLE_SHARE || status == STATUS_TABLE_FULL;
}

#endif
