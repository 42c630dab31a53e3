/* png_diff A B: mean absolute difference, in grey levels, of A and the lowest rows of B. For scripts. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "media/picture.h"

int main(int argc, char **argv)
{
    uint8_t *a, *b;
    int ah, aw, bh, bw;
    double sum = 0;

    if (argc != 3) return fprintf(stderr, "usage: png_diff A B\n"), 2;
    if (reel_png_read(argv[1], &a, &ah, &aw) || reel_png_read(argv[2], &b, &bh, &bw)) {
        reel_err_print(reel_errrec());
        return 1;
    }
    if (aw != bw || ah > bh) return fprintf(stderr, "png_diff: %dx%d and %dx%d\n", aw, ah, bw, bh), 1;
    for (long i = 0; i < 3L * aw * ah; i++) sum += abs(a[i] - b[3L * aw * (bh - ah) + i]);
    printf("%.2f\n", sum / (3.0 * aw * ah));
    free(a);
    free(b);
    return 0;
}
