/* scratch.h - folders that a test makes and removes. */
#ifndef SHOAL_TEST_SCRATCH_H
#define SHOAL_TEST_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

static int scratch_remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* Removes the folder and all in it; links are not followed. 0, or -1 when something stays. */
static inline int scratch_remove(const char *dir)
{
    return nftw(dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
