/* runner.c - feeds files to a fuzz target, for builds without libFuzzer: the corpus is a test in every build.
 *
 *   fuzz_<name> FILE-OR-FOLDER...
 *
 * Says how many it fed. A target that finds something ends the process; the file at hand is named before. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/fuzz/fuzz.h"

#define FILE_SIZE_MAX ((size_t)1 << 20)

static const char *at_hand = "";

static void name_it(int number)
{
    static const char words[] = "\nthe input was ";
    (void)!write(STDERR_FILENO, words, sizeof(words) - 1);
    (void)!write(STDERR_FILENO, at_hand, strlen(at_hand));
    (void)!write(STDERR_FILENO, "\n", 1);
    signal(number, SIG_DFL);
    raise(number);
}

static unsigned feed_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    uint8_t *data = malloc(FILE_SIZE_MAX);
    ensure(data != NULL);
    size_t size = fread(data, 1, FILE_SIZE_MAX, file);
    fclose(file);
    uint8_t *exact = (uint8_t *)fuzz_copy(slice_of(data, size));
    free(data);
    at_hand = path;
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 1;
}

static unsigned feed(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        return feed_file(path);
    }
    DIR *dir = opendir(path);
    ensure(dir != NULL);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char inside[1024];
        if (entry->d_name[0] != '.') {
            snprintf(inside, sizeof(inside), "%s/%s", path, entry->d_name);
            count += feed(inside);
        }
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    signal(SIGABRT, name_it);
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        count += feed(argv[i]);
    }
    printf("%u inputs\n", count);
    return count > 0 ? 0 : 1; /* a corpus that is not there must not look like success */
}
