/* The text encoder of a pipeline's folder in f32: seconds a prompt, one at a time and eight in a round.
 * usage: b_umt5 FOLDER [THREADS] */
#include "bench.h"
#include "encode/umt5_priv.h"

static struct reel_umt5 *u;

static void encode(int len, int n)
{
    int32_t id[REEL_UMT5_MOST];
    const int32_t *row[8] = { NULL };
    int lens[8] = { 0 };
    struct reel_text_rows out[8] = { 0 };

    for (int i = 0; i < len; i++) id[i] = (int32_t)((7 * i + 3) % 800 + 2);
    for (int i = 0; i < n; i++) row[i] = id, lens[i] = len;
    if (reel_umt5_encode_ids(u, row, lens, n, out)) exit(1);
    for (int i = 0; i < n; i++) free(out[i].rows);
}

int main(int argc, char **argv)
{
    static const int lens[] = { 32, 128, 512 };
    struct reel_comm world;
    struct reel_backend *be;
    struct reel_stream s;
    int threads = argc > 2 ? atoi(argv[2]) : 2;
    struct reel_encode_opts o = { .model = argv[1], .dtype = REEL_F32, .s = &s, .comm = &world };

    if (argc < 2 || reel_comm_start(&world, &argc, &argv) || reel_backend_open(&be, "cpu", threads)) return 1;
    if (threads == 1) bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    reel_stream_init(&s, be, 0, NULL);
    if (reel_umt5_open(&u, &o)) return reel_err_print(reel_errrec()), 1;
    printf("%s, %d threads\n", bench_processor(), threads);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++)
        for (int n = 1; n <= (lens[i] <= 128 ? 8 : 1); n *= 8) {
            double best;
            BENCH_BEST(best, 3, 1.0, encode(lens[i], n));
            printf("tokens %d, %d at a time: %.5f s\n", lens[i], n, best / n);
        }
    reel_umt5_close(u);
    reel_backend_close(be);
    reel_comm_stop();
    return 0;
}
