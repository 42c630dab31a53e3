/* Fronts: planning touches no memory and sizes the scratch that running uses; a wrong shape or dtype
 * dies with a message that names it; the pool runs every task once. */
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "be/cores.h"
#include "kernels/cpu/pool.h"
#include "op.h"

/* Every front once on views of one memory or of none. */
static void all_ops(struct reel_stream *s, struct reel_arena *a, reel_dtype dt)
{
    const int64_t B = 2, S = 70, D = 24, N = 40, heads = 2, M = B * S;
    struct reel_rows r = reel_rows_make(B, S, S / 5);
    reel_tensor x = reel_new(a, dt, REEL_DIMS(B, S, D)), y = reel_new(a, dt, REEL_DIMS(B, S, D)), z = reel_new(a, dt, REEL_DIMS(B, S, D));
    reel_tensor u = reel_new(a, dt, REEL_DIMS(B, S, D)), v = reel_new(a, dt, REEL_DIMS(B, S, D)), w = reel_new(a, dt, REEL_DIMS(N, D)), yn = reel_new(a, dt, REEL_DIMS(M, N));
    reel_tensor vec = reel_new(a, REEL_F32, REEL_DIMS(N)), vd = reel_new(a, REEL_F32, REEL_DIMS(D)), st1 = reel_new(a, REEL_F32, REEL_DIMS(M)), st2 = reel_new(a, REEL_F32, REEL_DIMS(M));
    reel_tensor mod = reel_new(a, REEL_F32, REEL_DIMS(B * 5, 6, D)), dmod = reel_new(a, REEL_F32, REEL_DIMS(B * 5, 6, D)), table = reel_new(a, REEL_F32, REEL_DIMS(6, D)), t = reel_new(a, REEL_F32, REEL_DIMS(B * 5, D));
    reel_tensor dw = reel_new(a, REEL_F32, REEL_DIMS(N, D)), lse = reel_new(a, REEL_F32, REEL_DIMS(B, heads, S)), rot = reel_new(a, REEL_F32, REEL_DIMS(S, D / heads / 2)), rot2 = reel_new(a, REEL_F32, REEL_DIMS(M, heads));
    reel_tensor lat = reel_new(a, REEL_F32, REEL_DIMS(B, 5, 6, 4, 14)), lat2 = reel_new(a, REEL_F32, REEL_DIMS(B, 5, 6, 4, 14)), lat3 = reel_new(a, REEL_F32, REEL_DIMS(B, 6, 5, 4, 14));
    reel_tensor sums = reel_new(a, REEL_F64, REEL_DIMS(B, 5)), sig = reel_new(a, REEL_F32, REEL_DIMS(B)), chan = reel_new(a, REEL_F32, REEL_DIMS(6)), limbs = reel_new(a, REEL_I64, REEL_DIMS(68)), none = { 0 };

    reel_linear_fwd(s, yn, yn, x, w, vec, r, (struct reel_cut){ 8, 0, 1 }, REEL_EPI_GELU);
    reel_linear_bwd_x(s, y, yn, w, r, (struct reel_cut){ 8, 0, 1 }, 0);
    reel_linear_bwd_w(s, dw, vec, x, yn, r, REEL_UNCUT, 0);
    reel_ln_mod_fwd(s, y, st1, st2, x, mod, 0, 1, r, 1e-6);
    reel_ln_mod_bwd(s, z, 0, dmod, y, x, st1, st2, mod, 0, 1, r);
    reel_ln_affine_fwd(s, y, st1, st2, x, vd, vd, r, 1e-6);
    reel_ln_affine_bwd(s, z, 0, vd, vd, y, x, st1, st2, vd, r, 1);
    reel_rms_rope_fwd(s, y, st1, x, vd, rot, rot, r, (int)heads, 1e-6, none);
    reel_rms_rope_bwd(s, z, vd, y, x, st1, vd, rot, rot, r, (int)heads, 0, none);
    reel_rms_dots(s, rot2, y, x, vd, rot, rot, r, (int)heads);
    reel_attn_fwd(s, y, lse, x, z, u, (int)heads, (struct reel_mask){ 0 });
    reel_attn_bwd(s, x, z, u, v, y, lse, x, z, u, (int)heads, (struct reel_mask){ 0 }, 0);
    reel_gate_fwd(s, y, x, u, mod, 2, r);
    reel_gate_bwd(s, z, dmod, y, u, mod, 2, r);
    reel_mod_fwd(s, mod, table, t);
    reel_mod_bwd(s, table, 0, t, mod);
    reel_silu_fwd(s, y, x);
    reel_silu_bwd(s, z, y, x);
    reel_gelu_fwd(s, y, x);
    reel_gelu_bwd(s, z, y, x);
    reel_fill(s, x, 1);
    reel_cast(s, x, y);
    reel_add(s, x, y);
    reel_copy_2d(s, x, 0, y, D / 2, D / 2);
    reel_sum_end(s, rot2, rot2, none, 0);
    reel_axpby(s, vd, 1, vd, 1);
    reel_lerp_to(s, vd, vd, 1);
    reel_scale(s, x, 2);
    reel_adamw(s, vd, vd, vd, vd, (struct reel_adamw){ .step = 1 });
    reel_sinusoid(s, rot, st1.nd ? reel_slice(st1, 0, S) : st1);
    reel_patch(s, x, lat, 2, 2);
    reel_patch_bwd(s, lat, x, 2, 2);
    reel_unpatch(s, lat, x, 2, 2);
    reel_unpatch_bwd(s, x, lat, 2, 2);
    reel_swap_tc(s, lat3, lat);
    reel_randn(s, lat, 1, 1, 0, 0);
    reel_randn_frames(s, lat, 1, lat.n[1] + 2, 1, 1, 0, 0);
    reel_normalize(s, lat, lat2, chan, chan);
    reel_noise_mix(s, lat, lat2, lat2, sig);
    reel_flow_loss(s, lat, sums, lat2, lat2, lat2, none, none, none, 1, 0);
    reel_x0_fwd(s, lat, lat2, lat2, sig);
    reel_x0_bwd(s, lat, lat2, sig, 1);
    reel_ode_step(s, lat, lat2, lat2, sig, sig);
    reel_guide(s, lat, sums, lat2, lat2, lat2, 1);
    reel_dmd_grad(s, lat, sums, lat2, lat2, sig, 0);
    reel_tree_sum(s, vd, table, 0);
    reel_sumsq(s, limbs, x);
    reel_put(s, vd, NULL);
    reel_copy(s, x, y);
}

static void planning(struct op *t, reel_dtype dt)
{
    struct reel_arena a = { .name = "plan" }, scratch = { .name = "plan scratch" };
    struct reel_stream s;

    reel_stream_init(&s, t->be, 1, &scratch);
    all_ops(&s, &a, dt);
    TAP_OK(s.flops > 0 && a.used > 0 && scratch.used == 0, "%s: planning runs every front without memory", reel_dtype_name(dt));
    t->scratch.peak = 0;
    t->s.flops = 0;
    {
        float zero[24] = { 0 };
        reel_tensor vd = reel_new(&t->a, REEL_F32, REEL_DIMS(24));
        reel_put(&t->s, vd, zero);
    }
    TAP_OK(s.flops == 2.0 * 3 * 140 * 40 * 24 + 12.0 * 2 * 70 * 70 * 24, "%s: operations are counted (%.0f)", reel_dtype_name(dt), s.flops);
    TAP_OK(scratch.peak > 0, "%s: scratch is sized (%zu bytes)", reel_dtype_name(dt), scratch.peak);
}

/* ---- messages of bugs ---- */

static void dies(struct op *t, const char *what, void (*f)(struct op *t), const char *words)
{
    int fd[2], status;
    char text[2048];
    ssize_t n, got = 0;
    pid_t pid;

    if (pipe(fd)) abort();
    fflush(stdout);
    pid = fork();
    if (!pid) {
        dup2(fd[1], 2);
        f(t);
        _exit(0);
    }
    close(fd[1]);
    while ((n = read(fd[0], text + got, sizeof text - 1 - (size_t)got)) > 0) got += n;
    text[got] = 0;
    close(fd[0]);
    waitpid(pid, &status, 0);
    TAP_OK(status && strstr(text, words), "%s dies: %s", what, words);
    if (!strstr(text, words)) printf("# said: %s\n", text);
}

static void bad_width(struct op *t)
{
    reel_tensor x = reel_new(&t->a, REEL_F32, REEL_DIMS(4, 6)), y = reel_new(&t->a, REEL_F32, REEL_DIMS(4, 7)), m = reel_new(&t->a, REEL_F32, REEL_DIMS(4));
    reel_ln_affine_fwd(&t->s, y, m, m, x, m, m, reel_rows_make(1, 4, 4), 1e-6);
}

static void bad_dtype(struct op *t)
{
    reel_tensor x = reel_new(&t->a, REEL_F32, REEL_DIMS(4, 6)), y = reel_new(&t->a, REEL_BF16, REEL_DIMS(4, 6));
    reel_silu_fwd(&t->s, y, x);
}

static void bad_heads(struct op *t)
{
    reel_tensor q = reel_new(&t->a, REEL_F32, REEL_DIMS(1, 4, 6)), l = reel_new(&t->a, REEL_F32, REEL_DIMS(1, 4, 4));
    reel_attn_fwd(&t->s, q, l, q, q, q, 4, (struct reel_mask){ 0 });
}

static void bad_memory(struct op *t)
{
    reel_tensor x = reel_new(&t->a, REEL_F32, REEL_DIMS(4, 6)), y = reel_view(NULL, REEL_F32, REEL_DIMS(4, 6));
    reel_add(&t->s, y, x);
}

static void bad_step(struct op *t)
{
    reel_tensor x = reel_new(&t->a, REEL_F32, REEL_DIMS(4));
    reel_adamw(&t->s, x, x, x, x, (struct reel_adamw){ .lr = 1 });
}

/* ---- the pool ---- */

struct tally { atomic_int count[5000]; int workers; };

static void count_task(void *arg, int64_t i, int worker)
{
    struct tally *t = arg;

    atomic_fetch_add(&t->count[i], worker < t->workers ? 1 : 1000);
}

static void pools(void)
{
    for (int threads = 1; threads <= 5; threads += 2) {
        struct reel_pool *p = reel_pool_open(threads);
        static struct tally t;
        int bad = 0;
        memset(&t, 0, sizeof t);
        t.workers = threads;
        for (int k = 0; k < 300; k++) {
            reel_pool_run(p, k % 7 * 100, count_task, &t);
            if (k % 100 == 99) usleep(3000); /* workers go to sleep and must wake again */
        }
        for (int i = 0, want; i < 5000; i++) {
            want = 0;
            for (int k = 0; k < 300; k++) want += i < k % 7 * 100;
            bad += t.count[i] != want;
        }
        TAP_OK(!bad, "pool of %d: every task of 300 runs once", threads);
        reel_pool_close(p);
    }
    TAP_OK(reel_cores_here() >= 1, "cores of the cpuset: %d", reel_cores_here());
}

static void backends(void)
{
    struct reel_backend *be;

    TAP_OK(reel_backend_open(&be, "tpu", 1) == REEL_ECONFIG && strstr(reel_errrec()->msg, "tpu"), "an unknown device is refused by name");
    reel_err_clear();
    TAP_OK(reel_backend_open_isa(&be, "cpu", 1, "sse9") == REEL_ECONFIG && strstr(reel_errrec()->msg, "sse9"), "an unknown instruction set is refused by name");
    reel_err_clear();
    TAP_OK(reel_backend_open(&be, "cpu", -1) == REEL_ECONFIG, "a negative number of threads is refused");
    reel_err_clear();
    TAP_OK(!reel_backend_open(&be, "cpu", 0) && reel_backend_threads(be) == reel_cores_here(), "cpu with 0 threads: %s", be ? reel_backend_describe(be) : "");
    reel_backend_close(be);
}

int main(void)
{
    struct op t;

    backends();
    pools();
    if (!op_open(&t, NULL, 1)) return 1;
    planning(&t, REEL_F32);
    planning(&t, REEL_BF16);
    dies(&t, "a wrong width", bad_width, "reel_ln_affine_fwd: y is f32[4,7], wanted rows of 6");
    dies(&t, "a wrong dtype", bad_dtype, "reel_silu_fwd: y is bf16[4,6], wanted f32 with 24 elements");
    dies(&t, "a wrong head count", bad_heads, "reel_attn_fwd: 4 heads do not divide width 6");
    dies(&t, "missing memory", bad_memory, "reel_add: y has no memory outside planning");
    dies(&t, "update 0", bad_step, "reel_adamw: step 0, the first update is 1");
    op_close(&t);
    return tap_done();
}
