/* attack.h - the small attacks that the static init can play, for the proof at the start of a node (probe.c). */
#ifndef SHOAL_WORK_SANDBOX_ATTACK_H
#define SHOAL_WORK_SANDBOX_ATTACK_H

#define ATTACK_OPTION "--attack"

/* Plays it. 0: what was tried was refused as it should be; else a code that attack.c names. Some never return. */
int attack(const char *name);

#endif
