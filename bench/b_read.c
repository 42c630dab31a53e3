/* Samples of a data set against raw reads of the same file, both warm.
 *
 *   b_read [SAMPLES [TIMES]]      default 48 samples of 8.4 MB (latents of 480 x 832 x 81 frames), 5 times
 *
 * A sample's read checks its CRC-32C; raw is one pread per sample into one buffer. Medians, turn about. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/set.h"
#include "train/profile.h"

enum { C = 16, T = 21, H = 60, W = 104, L = 64, D = 64 };
#define LATENT ((size_t)C * T * H * W)

static void check(reel_err e)
{
    if (e == REEL_OK) return;
    reel_err_print(reel_errrec());
    exit(1);
}

static void make_set(const char *path, int64_t n, struct reel_comm *world, float *latent, float *text)
{
    float mean[C] = { 0 }, std[C];
    struct reel_set_desc d = { .kind = "t2v", .channels = C, .frames = T, .height = H, .width = W, .text_dim = D, .pad_to = L,
                               .dtype = REEL_F32, .mean = mean, .std = std, .family = "bench", .down = { 4, 8, 8 } };
    struct reel_set_writer *w;

    for (int c = 0; c < C; c++) std[c] = 1;
    for (size_t i = 0; i < LATENT; i++) latent[i] = (float)(i * 2654435761u % 1000003u);
    for (int i = 0; i < L * D; i++) text[i] = (float)i;
    check(reel_set_create(&w, path, &d, world));
    for (int64_t i = 0; i < n; i++)
        check(reel_set_add(w, &(struct reel_set_sample){ .key = i, .latent = latent, .text = text, .rows = L }));
    check(reel_set_commit(w, REEL_OK, &n));
}

static double raw(const char *path, char *buf)
{
    int fd = open(path, O_RDONLY);
    double t = reel_now(), bytes = 0;
    ssize_t k;

    while ((k = read(fd, buf, LATENT * sizeof(float))) > 0) bytes += (double)k;
    close(fd);
    return bytes / (reel_now() - t);
}

static double ours(struct reel_set *set, int64_t n, float *latent, float *text)
{
    double t = reel_now(), bytes = 0;

    for (int64_t i = 0; i < n; i++) {
        int rows;
        check(reel_set_read(set, i, T, latent, text, &rows));
        bytes += (double)reel_set_sample_bytes(set, i);
    }
    return bytes / (reel_now() - t);
}

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int64_t n = argc > 1 ? atol(argv[1]) : 48;
    int times = argc > 2 ? atoi(argv[2]) : 5;
    char dir[] = "/tmp/b_read.XXXXXX", path[64];
    float *latent = malloc(LATENT * sizeof *latent), *text = malloc(L * D * sizeof *text);
    double a[100], b[100], ratio[100];
    struct reel_comm world;
    struct reel_set *set;

    if (n < 1 || times < 1 || times > 100 || !latent || !text || !mkdtemp(dir)) return 2;
    check(reel_comm_start(&world, &argc, &argv));
    snprintf(path, sizeof path, "%s/set.h5", dir);
    make_set(path, n, &world, latent, text);
    check(reel_set_open(&set, path, &world));
    ours(set, n, latent, text); /* warm the page cache */
    for (int i = 0; i < times; i++) {
        a[i] = raw(path, (char *)latent);
        b[i] = ours(set, n, latent, text);
        ratio[i] = b[i] / a[i];
    }
    qsort(a, (size_t)times, sizeof *a, order);
    qsort(b, (size_t)times, sizeof *b, order);
    qsort(ratio, (size_t)times, sizeof *ratio, order);
    printf("%ld samples: raw %.2f GB/s, set %.2f GB/s, ratio %.2f (%.2f to %.2f)\n", (long)n, a[times / 2] * 1e-9,
           b[times / 2] * 1e-9, ratio[times / 2], ratio[0], ratio[times - 1]);
    reel_set_close(set);
    remove(path);
    rmdir(dir);
    reel_comm_stop();
    return 0;
}
