/* primes.c - reads pairs "from to" on standard input and writes how many primes lie between them, and the last one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 50000000u

int main(void)
{
    /* one bit for each odd number */
    unsigned char *is_composite = calloc(MOST / 16 + 1, 1);
    if (is_composite == NULL)
        return 2;
    for (unsigned n = 3; n * n <= MOST; n += 2)
        if (!(is_composite[n / 16] >> (n / 2 % 8) & 1))
            for (unsigned m = n * n; m <= MOST; m += 2 * n)
                is_composite[m / 16] |= (unsigned char)(1 << (m / 2 % 8));

    unsigned from, to;
    while (scanf("%u %u", &from, &to) == 2) {
        if (to > MOST || from > to) {
            fprintf(stderr, "%u to %u: must rise and end at most at %u\n", from, to, MOST);
            return 1;
        }
        unsigned count = from <= 2 && to >= 2, last = count ? 2 : 0;
        for (unsigned n = from < 3 ? 3 : from | 1; n <= to; n += 2)
            if (!(is_composite[n / 16] >> (n / 2 % 8) & 1)) {
                count++;
                last = n;
            }
        printf("%u to %u: %u primes, the last is %u\n", from, to, count, last);
    }
    free(is_composite);
    return 0;
}
