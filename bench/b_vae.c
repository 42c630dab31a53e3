/* Wan's VAE: seconds to encode and decode a film, and FLOP/s.
 *   b_vae FOLDER [threads [frames height width [f32|bf16]]]    one thread: processor time */
#include "be/be.h"
#include "bench/bench.h"
#include "encode/encode.h"

static int number(int argc, char **argv, int i, int dflt) { return i < argc ? atoi(argv[i]) : dflt; }

int main(int argc, char **argv)
{
    const int threads = number(argc, argv, 2, 2), frames = number(argc, argv, 3, 9), h = number(argc, argv, 4, 128), w = number(argc, argv, 5, 192);
    const int t = reel_codec_frames(frames), bf16 = argc > 6 && !strcmp(argv[6], "bf16");
    struct reel_encode_opts o = { .model = argc > 1 ? argv[1] : "", .dtype = bf16 ? REEL_BF16 : REEL_F32 };
    const int64_t n = (int64_t)frames * h * w * 3;
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_codec *c;
    uint8_t *rgb = malloc((size_t)n);
    float *z = malloc(sizeof *z * 64 * (size_t)(t * (h / 8) * (w / 8)));
    double enc, dec;

    if (threads == 1) bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    if (!t || h % 8 || w % 8 || !rgb || !z || reel_backend_open(&be, "cpu", threads)) return fprintf(stderr, "b_vae: frames 4k+1, height and width multiples of 8\n"), 1;
    reel_stream_init(&s, be, 0, NULL);
    o.s = &s;
    if (reel_codec_open(&c, &o)) return fprintf(stderr, "b_vae: %s\n", reel_errrec()->msg), 1;
    for (int64_t i = 0; i < n; i++) rgb[i] = (uint8_t)((i * 2654435761u) >> 13);
    if (reel_codec_encode(c, z, rgb, 1, h, w) || reel_codec_decode_begin(c, h / 8, w / 8) || reel_codec_decode(c, rgb, z, 1)) return 1; /* takes memory */
    for (int64_t i = 0; i < n; i++) rgb[i] = (uint8_t)((i * 2654435761u) >> 13);
    BENCH_BEST(enc, 2, 1, reel_codec_encode(c, z, rgb, frames, h, w));
    BENCH_BEST(dec, 2, 1, (void)reel_codec_decode_begin(c, h / 8, w / 8); (void)reel_codec_decode(c, rgb, z, t));
    printf("%s\n%s, %s, %d x %d x %d: encode %.3f s decode %.3f s\n", bench_processor(), reel_backend_describe(be), bf16 ? "bf16" : "f32", frames, h, w, enc, dec);
    reel_codec_close(c);
    reel_backend_close(be);
    free(rgb), free(z);
    return 0;
}
