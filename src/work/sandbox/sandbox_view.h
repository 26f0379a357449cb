/* sandbox_view.h - the system directories and devices of one box as inodes of its own.
 *
 * Locks are kept by inode. Bound from the machine, /usr/lib/x is one inode for all boxes, and a lock on it a signal from
 * one to the other; seen through an overlay that each box has for itself, it is not. Needs root and overlayfs. */
#ifndef SHOAL_WORK_SANDBOX_SANDBOX_VIEW_H
#define SHOAL_WORK_SANDBOX_SANDBOX_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#define SANDBOX_VIEW_DIRS_MAX 16
#define SANDBOX_VIEW_TEXT_SIZE 600

struct sandbox_view {
    char base[16]; /* where its own little file system goes */
    size_t count;
    char dirs[SANDBOX_VIEW_DIRS_MAX][256];
    char options[SANDBOX_VIEW_DIRS_MAX][SANDBOX_VIEW_TEXT_SIZE];
};

/* Prepares a view of /usr, /etc and what else the system has of its kind. False when this machine has no place for it, or
 * a directory has other file systems mounted inside, which an overlay would hide. Blocking. */
bool sandbox_view_open(struct sandbox_view *view);
/* Adds a directory; false as above. */
bool sandbox_view_add(struct sandbox_view *view, const char *dir);
/* Whether it can be made here: tries, in a child. */
bool sandbox_view_try(const struct sandbox_view *view);
/* Makes it for this process and its children; in a forked child, as root (async-signal-safe). False with errno. */
bool sandbox_view_enter(const struct sandbox_view *view);

#endif
