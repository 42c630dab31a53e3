/* Sparse attention: tiles of a token grid and how many blocks a block attends to. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/nn.h"

#define EDGE 4 /* tokens of a tile along each axis */

static int64_t tiles_along(int64_t tokens)
{
    return (tokens + EDGE - 1) / EDGE;
}

int64_t reel_tiles_count(const int64_t grid[3])
{
    return tiles_along(grid[0]) * tiles_along(grid[1]) * tiles_along(grid[2]);
}

static int64_t end_of(int64_t first, int64_t tokens)
{
    return first + EDGE < tokens ? first + EDGE : tokens;
}

/* The tokens of one tile in raster order; returns how many. */
static int64_t fill_tile(int32_t *order, const int64_t grid[3], int64_t t0, int64_t h0, int64_t w0)
{
    int64_t n = 0;

    for (int64_t t = t0; t < end_of(t0, grid[0]); t++)
        for (int64_t h = h0; h < end_of(h0, grid[1]); h++)
            for (int64_t w = w0; w < end_of(w0, grid[2]); w++) order[n++] = (int32_t)((t * grid[1] + h) * grid[2] + w);
    return n;
}

void reel_tiles_fill(int32_t *start, int32_t *order, const int64_t grid[3])
{
    *start = 0;
    for (int64_t t = 0; t < grid[0]; t += EDGE)
        for (int64_t h = 0; h < grid[1]; h += EDGE)
            for (int64_t w = 0; w < grid[2]; w += EDGE, start++)
                start[1] = start[0] + (int32_t)fill_tile(order + start[0], grid, t, h, w);
}

int64_t reel_vsa_topk(double sparsity, int64_t n)
{
    double k = ceil((1 - sparsity) * (double)n);

    return k < 1 ? 1 : k > (double)n ? n : (int64_t)k;
}
