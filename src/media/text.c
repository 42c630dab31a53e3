#include "media/text.h"

#include "media/normal64.h"

static int lower(int c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; }
static int in_word(int c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

int reel_text_vectors(const char *caption, float *out)
{
    double w[REEL_TEXT_DIM], p[REEL_TEXT_DIM];
    int rows = 0;

    while (rows < REEL_TEXT_ROWS) {
        uint64_t key = reel_rng_key(0, "text/word/"); /* FNV-1a goes on over the word's letters */
        while (*caption && !in_word(lower(*caption))) caption++;
        if (!*caption) break;
        for (; in_word(lower(*caption)); caption++) key = (key ^ (unsigned char)lower(*caption)) * 0x100000001b3u;
        reel_normals64(w, REEL_TEXT_DIM, key, 0);
        reel_normals64(p, REEL_TEXT_DIM, reel_rng_key(0, "text/place"), (uint32_t)rows);
        for (int i = 0; i < REEL_TEXT_DIM; i++) out[rows * REEL_TEXT_DIM + i] = (float)(sqrt(0.5) * (w[i] + p[i]));
        rows++;
    }
    return rows;
}
