/* a set of built-in clips: the samples are the generator's, the bytes do not depend on the ranks */
#include <mpi.h>

#include "data/demo_set.h"
#include "data_util.h"
#include "media/clips.h"
#include "media/dct.h"
#include "media/text.h"

static struct reel_comm world, self = { .mpi = MPI_COMM_SELF, .size = 1, .name = "self" };
static char test[32];

static void refused(struct reel_demo_args a, const char *words)
{
    TAP_OK(reel_set_make_demo(&a, &world) == REEL_ECONFIG && strstr(reel_errrec()->msg, words), "%s", reel_errrec()->msg);
    reel_err_clear();
}

int main(int argc, char **argv)
{
    struct reel_demo_args a = { .seed = 1, .clips = 37, .height = 48, .width = 48, .frames = 13 };
    static float x[16 * 4 * 36], want[16 * 4 * 36], text[768], words[768];
    static uint8_t rgb[13 * 48 * 48 * 3];
    struct reel_set *s;
    int bad = 0, rows;
    reel_err e;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    snprintf(test, sizeof test, "t_demo_set_np%d", world.size);
    a.path = strdup(scratch(test, "new/folder/all.h5"));
    e = reel_set_make_demo(&a, &world);
    TAP_OK(!e && !reel_set_open(&s, a.path, &world) && reel_set_info(s)->n == 37, "made on %d ranks, folders too %s", world.size, reel_errrec()->msg);
    for (int i = 0; i < 37; i += 12) {
        struct reel_clip c = { 1, i, 0, 48, 48, 13 };
        char caption[REEL_CLIP_CAPTION];
        reel_clip_draw(&c, rgb);
        reel_dct_encode(want, rgb, 13, 48, 48);
        reel_clip_caption(reel_clip_what(1, i), caption);
        bad += reel_set_read(s, i, 4, x, text, &rows) || memcmp(x, want, sizeof x) || rows != reel_text_vectors(caption, words) ||
               memcmp(text, words, (size_t)rows * 256);
    }
    TAP_OK(!bad && reel_set_info(s)->mean[9] == 0.1f && reel_set_info(s)->std[0] == 0.9f, "samples, text and constants are the generator's");
    TAP_OK(reel_set_negative(s, &rows) && rows == 0 && reel_set_empty(s, &rows) && rows == 0, "the negative and the empty prompt have no rows");
    reel_set_close(s);
    if (world.rank == 0) {
        struct reel_demo_args one = a;
        one.path = strdup(scratch(test, "one.h5"));
        e = reel_set_make_demo(&one, &self);
        bad = e || !same_files(a.path, one.path);
    }
    TAP_OK(!reel_agree(&world, e) && !bad, "the same bytes as from one rank");
    TAP_OK(!reel_set_check(a.path, &world), "check passes");
    a.height = 50, refused(a, "multiples of 8");
    a.height = 48, a.frames = 12, refused(a, "must be 4k+1; 9 and 13 are");
    a.frames = 13, a.clips = 0, refused(a, "0 built-in clips");
    reel_comm_barrier(&world);
    if (world.rank == 0) reel_rmtree(scratch(test, ""));
    reel_comm_stop();
    return tap_done();
}
