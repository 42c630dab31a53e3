/* mesh: rules, the numbers their messages name, coordinates */
#include <mpi.h>
#include <string.h>

#include "comm/comm.h"
#include "tap.h"

static const struct rule {
    struct reel_mesh_dims d; /* world, replicate, shard, sp, tp */
    int heads;
    const char *says; /* NULL: legal */
} rules[] = {
    { { 1, 1, 1, 1, 1 }, 12, NULL },
    { { 8, 2, 4, 2, 1 }, 12, NULL },
    { { 8, 2, 2, 4, 2 }, 40, NULL },
    { { 8, 1, 8, 8, 1 }, 0, NULL },
    { { 6, 2, 3, 3, 1 }, 12, NULL },
    { { 0, 1, 1, 1, 1 }, 12, "num_gpus is 0: it must be 1 or more" },
    { { 4, -1, 4, 1, 1 }, 12, "hsdp_replicate_dim is -1: it must be 1 or more" },
    { { 4, 1, 0, 1, 1 }, 12, "hsdp_shard_dim is 0" },
    { { 4, 1, 4, 0, 1 }, 12, "sp_size is 0" },
    { { 4, 1, 4, 1, 0 }, 12, "tp_size is 0" },
    { { 6, 2, 4, 1, 1 }, 12, "= 8, but the job has 6 ranks; with tp_size 1, replicate x shard of 1 x 6, 2 x 3, 3 x 2, 6 x 1" },
    { { 8, 2, 4, 1, 2 }, 12, "= 16, but the job has 8 ranks; with tp_size 2, replicate x shard of 1 x 4, 2 x 2, 4 x 1" },
    { { 1, 1, 4, 1, 1 }, 12, "the job has 1 rank; with tp_size 1, replicate x shard of 1 x 1 would work" },
    { { 8, 1, 2, 1, 3 }, 12, "tp_size 3 does not divide the 8 ranks of the job; tp_size 1, 2, 4, 8 would" },
    { { 8, 2, 4, 3, 1 }, 12, "sp_size 3 does not divide hsdp_replicate_dim 2 x hsdp_shard_dim 4 = 8; sp_size 1, 2, 4, 8 would" },
    { { 8, 1, 1, 1, 8 }, 12, "12 heads cannot be split over tp_size 8; tp_size 1, 2, 4 would" },
    { { 8, 1, 8, 8, 1 }, 12, NULL },
    { { 16, 1, 8, 8, 2 }, 12, NULL },
    { { 1 << 20, 1 << 16, 1 << 16, 1, 1 }, 12, "= 4294967296, but" },
    { { 5040, 1, 1, 1, 1 }, 12, "..." },
};

static void check_rules(void)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const struct rule *r = &rules[i];
        reel_err e;

        reel_err_clear();
        e = reel_mesh_check(&r->d, r->heads);
        TAP_OK(r->says ? e == REEL_ECONFIG && strstr(reel_errrec()->msg, r->says) != NULL : e == REEL_OK,
               "world %d = %d x %d x %d, sp %d, heads %d: %s", r->d.world, r->d.replicate, r->d.shard, r->d.tp,
               r->d.sp, r->heads, e ? reel_errrec()->msg : "fine");
    }
    reel_err_clear();
}

/* Every number named by a message is accepted when it is tried. */
static void check_advice(void)
{
    int tried = 0, wrong = 0;

    for (int world = 1; world <= 24; world++)
        for (int sp = 1; sp <= world; sp++) {
            struct reel_mesh_dims d = { world, 1, world, sp, 1 };
            const char *p;

            reel_err_clear();
            if (!reel_mesh_check(&d, 12)) continue;
            p = strstr(reel_errrec()->msg, "; sp_size ");
            wrong += p == NULL;
            for (p = p ? p + 10 : NULL; p && *p >= '0' && *p <= '9'; p = strstr(p, ", ") ? strstr(p, ", ") + 2 : NULL) {
                struct reel_mesh_dims better = d;

                sscanf(p, "%d", &better.sp);
                reel_err_clear();
                wrong += reel_mesh_check(&better, world % sp ? 0 : 12) != REEL_OK;
                reel_err_clear();
                reel_mesh_check(&d, 12); /* p points into the record: write it again */
                tried++;
            }
        }
    reel_err_clear();
    TAP_OK(tried > 300 && !wrong, "%d suggestions for sp_size tried, %d are wrong", tried, wrong);
}

/* replicate 2 x shard 4, sp 2, tp 1: the table of the field's own documentation. */
static void check_table(void)
{
    static const int want[8][4] = { { 0, 0, 0, 0 }, { 0, 1, 0, 1 }, { 0, 2, 1, 0 }, { 0, 3, 1, 1 },
                                    { 1, 0, 2, 0 }, { 1, 1, 2, 1 }, { 1, 2, 3, 0 }, { 1, 3, 3, 1 } };
    struct reel_mesh_dims d = { 8, 2, 4, 2, 1 };
    struct reel_mesh m;
    int ok = 1;

    for (int r = 0; r < 8; r++) {
        reel_mesh_place(&m, &d, r);
        ok &= m.replicate.rank == want[r][0] && m.shard.rank == want[r][1] && m.dp_rank == want[r][2] &&
              m.sp.rank == want[r][3] && m.hsdp.rank == r && m.tp.size == 1 && m.dp_size == 4;
    }
    TAP_OK(ok, "coordinates of 2 x 4 with sp 2");
    d = (struct reel_mesh_dims){ 8, 2, 2, 1, 2 };
    reel_mesh_place(&m, &d, 5);
    TAP_OK(m.tp.rank == 1 && m.hsdp.rank == 2 && m.replicate.rank == 1 && m.shard.rank == 0, "tp is innermost");
    TAP_OK(m.world.mpi == MPI_COMM_NULL && m.shard.bytes == m.bytes[REEL_AXIS_SHARD], "a placed mesh is for planning");
}

static void check_print(void)
{
    char text[8192] = "";
    FILE *f = fmemopen(text, sizeof text, "w");
    struct reel_mesh_dims d = { 64, 8, 8, 1, 1 };

    reel_mesh_print(&d, NULL, f);
    fclose(f);
    TAP_OK(strstr(text, "64 ranks = replicate 8 x shard 8") && strstr(text, "\n     ...\n") &&
               strstr(text, "      63          7       7    63     0     0\n"),
           "a long table is cut in the middle and keeps its end");
}

int main(void)
{
    check_rules();
    check_advice();
    check_table();
    check_print();
    return tap_done();
}
