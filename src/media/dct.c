#include "media/dct.h"

#include <math.h>
#include <string.h>

/* Which coefficients, and the constants of normalised = (raw - mean)/std: one line a channel. */
#define CHANNELS(X)                                                                                \
    X(0, 0, 0, 0, 0, 0.90f) X(0, 0, 0, 1, 0, 0.20f) X(0, 0, 1, 0, 0, 0.20f) X(0, 0, 1, 1, 0, 0.15f) \
    X(0, 0, 0, 2, 0, 0.15f) X(0, 0, 2, 0, 0, 0.15f) X(0, 1, 0, 0, 0, 0.15f) X(0, 1, 0, 1, 0, 0.12f) \
    X(0, 1, 1, 0, 0, 0.12f) X(1, 0, 0, 0, 0.10f, 0.60f) X(1, 0, 0, 1, 0, 0.18f)                    \
    X(1, 0, 1, 0, 0, 0.18f) X(1, 1, 0, 0, 0, 0.12f) X(2, 0, 0, 0, 0.05f, 0.45f)                    \
    X(2, 0, 0, 1, 0, 0.12f) X(2, 0, 1, 0, 0, 0.12f)

#define WHICH(c, t, y, x, m, s) { c, t, y, x },
static const struct { int colour, kt, ky, kx; } table[REEL_DCT_CHANNELS] = { CHANNELS(WHICH) };
#define MEAN(c, t, y, x, m, s) m,
static const float mean[REEL_DCT_CHANNELS] = { CHANNELS(MEAN) };
#define STD(c, t, y, x, m, s) s,
static const float std[REEL_DCT_CHANNELS] = { CHANNELS(STD) };
const struct reel_family reel_family_dct = { "reel-dct", REEL_DCT_CHANNELS, { 4, 8, 8 }, mean, std };

int reel_dct_frames(int n) { return n >= 1 && n % 4 == 1 ? (n - 1) / 4 + 1 : 0; }

/* Weight of pixel i = (a, y, x, colour) of a block [4,8,8,3] in the 16 coefficients: the product of
 * three cosines and a colour. Pixel-major, for decoding. */
enum { PIXELS = 4 * 8 * 8 * 3 };
struct patterns { double v[PIXELS][REEL_DCT_CHANNELS]; };

static double cosine(int n, int k, int i)
{
    return k ? sqrt(2.0 / n) * cos(M_PI * (2 * i + 1) * k / (2 * n)) : sqrt(1.0 / n);
}

struct basis { /* only the frequencies that are kept */
    double b4[2][4], b8[3][8], colour[3][3];
    double level[256]; /* grey level -> [-1,1] */
};

static void make_basis(struct basis *b)
{
    const double colour[3][3] = { { 1 / sqrt(3), 1 / sqrt(3), 1 / sqrt(3) },
                                  { 1 / sqrt(2), 0, -1 / sqrt(2) },
                                  { -1 / sqrt(6), 2 / sqrt(6), -1 / sqrt(6) } };

    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 4; i++) b->b4[k][i] = cosine(4, k, i);
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 8; i++) b->b8[k][i] = cosine(8, k, i);
    memcpy(b->colour, colour, sizeof colour);
    for (int i = 0; i < 256; i++) b->level[i] = i / 127.5 - 1.0;
}

static void make_patterns(struct patterns *p)
{
    struct basis b;

    make_basis(&b);
    for (int i = 0; i < PIXELS; i++)
        for (int e = 0; e < REEL_DCT_CHANNELS; e++)
            p->v[i][e] = b.b4[table[e].kt][i / 192] * b.b8[table[e].ky][i / 24 % 8] * b.b8[table[e].kx][i / 3 % 8] *
                         b.colour[table[e].colour][i % 3];
}

/* Pixel frame shown in place a of latent frame t. */
static int pix_frame(int t, int a) { return t ? 4 * t - 3 + a : 0; }

static void block_in(double *x, const struct basis *b, const uint8_t *rgb, int t, int by, int bx, int height, int width)
{
    for (int a = 0; a < 4; a++)
        for (int y = 0; y < 8; y++) {
            const uint8_t *row = rgb + (((size_t)pix_frame(t, a) * (size_t)height + (size_t)(8 * by + y)) * (size_t)width + (size_t)(8 * bx)) * 3;
            for (int i = 0; i < 24; i++) *x++ = b->level[row[i]];
        }
}

static size_t at(int e, int t, int y, int x, int T, int h, int w) /* in [16,T,h,w] */
{
    return (((size_t)e * (size_t)T + (size_t)t) * (size_t)h + (size_t)y) * (size_t)w + (size_t)x;
}

/* Eight pixels of a row: colours, then the three lowest frequencies along x. @r out [colour][kx] */
static void row_in(double r[3][3], const double *x, const struct basis *b)
{
    memset(r, 0, 9 * sizeof(double));
    for (int i = 0; i < 8; i++, x += 3)
        for (int c = 0; c < 3; c++) {
            double v = x[0] * b->colour[c][0] + x[1] * b->colour[c][1] + x[2] * b->colour[c][2];
            for (int k = 0; k < 3; k++) r[c][k] += v * b->b8[k][i];
        }
}

/* The kept coefficients of a block, one direction after the other. */
static void block_coefficients(double out[REEL_DCT_CHANNELS], const double *x, const struct basis *b)
{
    double q[4][3][3][3] = { { { { 0 } } } }, r[3][3]; /* q [frame][ky][colour][kx] */

    for (int a = 0; a < 4; a++)
        for (int y = 0; y < 8; y++, x += 24) {
            row_in(r, x, b);
            for (int k = 0; k < 3; k++)
                for (int i = 0; i < 9; i++) q[a][k][i / 3][i % 3] += r[i / 3][i % 3] * b->b8[k][y];
        }
    for (int e = 0; e < REEL_DCT_CHANNELS; e++) {
        out[e] = 0;
        for (int a = 0; a < 4; a++) out[e] += q[a][table[e].ky][table[e].colour][table[e].kx] * b->b4[table[e].kt][a];
    }
}

void reel_dct_encode(float *latent, const uint8_t *rgb, int frames, int height, int width)
{
    int T = reel_dct_frames(frames), h = height / 8, w = width / 8;
    double x[PIXELS], s[REEL_DCT_CHANNELS];
    struct basis b;

    make_basis(&b);
    for (int t = 0; t < T; t++)
        for (int by = 0; by < h; by++)
            for (int bx = 0; bx < w; bx++) {
                block_in(x, &b, rgb, t, by, bx, height, width);
                block_coefficients(s, x, &b);
                for (int e = 0; e < REEL_DCT_CHANNELS; e++) latent[at(e, t, by, bx, T, h, w)] = (float)(s[e] / 16.0);
            }
}

static uint8_t grey(double x) { return (uint8_t)fmin(fmax(floor(127.5 * (x + 1.0) + 0.5), 0), 255); }

/* A block to the pictures from `at`: one picture of the film's frame 0, else four. */
static void block_out(uint8_t *rgb, const double *x, int at, int one, int by, int bx, int height, int width)
{
    for (int a = 0; a < (one ? 1 : 4); a++)
        for (int y = 0; y < 8; y++) {
            uint8_t *row = rgb + (((size_t)(at + a) * (size_t)height + (size_t)(8 * by + y)) * (size_t)width + (size_t)(8 * bx)) * 3;
            for (int i = 0; i < 24; i++) {
                const double *v = x + y * 24 + i;
                row[i] = grey(one ? (v[0] + v[192] + v[384] + v[576]) / 4 : v[a * 192]);
            }
        }
}

void reel_dct_decode(uint8_t *rgb, const float *latent, int T, int h, int w, int t0)
{
    struct patterns p;
    double x[PIXELS];

    make_patterns(&p);
    for (int t = 0; t < T; t++)
        for (int by = 0; by < h; by++)
            for (int bx = 0; bx < w; bx++) {
                double k[REEL_DCT_CHANNELS];
                for (int e = 0; e < REEL_DCT_CHANNELS; e++) k[e] = 16.0 * (double)latent[at(e, t, by, bx, T, h, w)];
                for (int i = 0; i < PIXELS; i++) {
                    x[i] = 0;
                    for (int e = 0; e < REEL_DCT_CHANNELS; e++) x[i] += k[e] * p.v[i][e];
                }
                block_out(rgb, x, t0 ? 4 * t : pix_frame(t, 0), t0 + t == 0, by, bx, 8 * h, 8 * w);
            }
}
