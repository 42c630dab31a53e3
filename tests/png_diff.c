/* png_diff A B ROWS: mean absolute difference, in grey levels, of the first ROWS rows of A and as many of B behind its
 * own first ROWS: of one row of a contact sheet and the row below. For scripts. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "media/picture.h"

int main(int argc, char **argv)
{
    uint8_t *a, *b;
    int ah, aw, bh, bw;
    double sum = 0;
    long rows = argc == 4 ? strtol(argv[3], NULL, 10) : 0;

    if (rows < 1) return fprintf(stderr, "usage: png_diff A B ROWS\n"), 2;
    if (reel_png_read(argv[1], &a, &ah, &aw) || reel_png_read(argv[2], &b, &bh, &bw)) {
        reel_err_print(reel_errrec());
        return 1;
    }
    if (aw != bw || ah < rows || bh < 2 * rows) return fprintf(stderr, "png_diff: %dx%d and %dx%d\n", aw, ah, bw, bh), 1;
    for (long i = 0; i < 3L * aw * rows; i++) sum += abs(a[i] - b[3L * aw * rows + i]);
    printf("%.2f\n", sum / (3.0 * aw * (double)rows));
    free(a);
    free(b);
    return 0;
}
