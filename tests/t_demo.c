/* the edges of the built-in text encoder and codec; their values are in the golden folder demo */
#include <string.h>

#include "media/dct.h"
#include "media/text.h"
#include "tap.h"

static void edges(void)
{
    float a[REEL_TEXT_ROWS * REEL_TEXT_DIM], b[REEL_TEXT_ROWS * REEL_TEXT_DIM];
    int n = reel_text_vectors("A Red-circle,  MOVES!", a), m = reel_text_vectors("a red circle moves", b);

    TAP_OK(n == 4 && m == 4 && !memcmp(a, b, 4 * 64 * 4), "case and punctuation do not count");
    TAP_OK(reel_text_vectors("", a) == 0 && reel_text_vectors(" .,;! \xc3\xa9 ", a) == 0, "no word, no row");
    TAP_OK(reel_text_vectors("1 2 3 4 5 6 7 8 9 10 11 12 13 14", a) == 12, "at most twelve rows");
    TAP_OK(reel_dct_frames(13) == 4 && reel_dct_frames(1) == 1 && !reel_dct_frames(12) && !reel_dct_frames(0), "frames are 4k+1");
}

int main(void)
{
    edges();
    return tap_done();
}
