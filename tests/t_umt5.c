/* The text encoder against its golden folder, on any number of ranks; what must not change a bit; the cache; bad files. */
#include <mpi.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "device.h"
#include "encode/text_cache.h"
#include "encode/umt5_priv.h"
#include "golden.h"
#include "tap.h"

static struct reel_comm world;
static struct reel_backend *be;
static struct reel_stream s;
static char pipeline[PATH_MAX]; /* text_encoder/ and tokenizer/ of the golden folder */

#define N 60

/* A prompt of up to a hundred tokens. */
static char *prompt_of(int i)
{
    static const char *const word[] = { "a", "red", "car", "on", "the", "road", "[web]", "rain", "\xe5\xb1\xb1", "over", "slowly", "x1" };
    char *p = calloc(1, 4096);

    for (int k = 0; k < i * 7 % 23; k++) strcat(p, word[(i * 5 + k * k) % 12]), strcat(p, " ");
    return p;
}

static struct reel_text *open_text(const char *model, int dtype, const char *cache)
{
    struct reel_encode_opts o = { .model = model, .dtype = dtype, .s = &s, .comm = &world, .cache = cache };
    struct reel_text *t = NULL;

    if (reel_text_open(&t, &o) && world.rank == 0) reel_err_print(reel_errrec());
    return t;
}

static int same(const struct reel_text_rows *a, const struct reel_text_rows *b, int dim)
{
    return a->n == b->n && a->n > 0 && !memcmp(a->rows, b->rows, (size_t)a->n * (size_t)dim * sizeof *a->rows);
}

static int all(int ok)
{
    double v = ok ? 0 : 1;

    reel_comm_sum(&world, &v, 1);
    return v == 0;
}

static void drop(struct reel_text_rows *r, int n)
{
    for (int i = 0; i < n; i++) free(r[i].rows), r[i] = (struct reel_text_rows){ 0 };
}

/* Alone, all at once (several rounds), and dealt out unevenly: rank 1 has nothing, the others different numbers. */
static void alone_and_together(struct reel_text *t, char **prompt)
{
    struct reel_text_rows one[N] = { 0 }, many[N] = { 0 };
    int first = world.rank * 13 % N, n = world.rank == 1 ? 0 : N - first, ok = 1, dim = reel_text_dim(t);
    static char *big[4 * N]; /* more tokens than a round takes */
    struct reel_text_rows rows[4 * N] = { 0 };

    for (int i = 0; i < N; i++) ok &= !reel_text_encode(t, (const char *const *)prompt + i, 1, &one[i]);
    ok &= !reel_text_encode(t, (const char *const *)prompt + first, n, many);
    for (int i = 0; i < n; i++) ok &= same(&many[i], &one[first + i], dim);
    TAP_OK(all(ok), "a prompt's rows are the same alone and in rounds of other prompts, %d ranks", world.size);
    for (int i = 0; i < 4 * N; i++) big[i] = prompt[(i * 3 + world.rank) % N];
    ok = !reel_text_encode(t, (const char *const *)big, 4 * N, rows);
    for (int i = 0; i < 4 * N; i++) ok &= same(&rows[i], &one[(i * 3 + world.rank) % N], dim);
    TAP_OK(all(ok), "... in several rounds");
    drop(one, N), drop(many, N), drop(rows, 4 * N);
}

/* Each rank's own encoder, which shares nothing. */
static void shared_and_not(struct reel_text *t, char **prompt)
{
    struct reel_comm self = { .mpi = MPI_COMM_SELF, .size = 1, .name = "self" };
    struct reel_encode_opts o = { .model = pipeline, .dtype = REEL_F32, .s = &s, .comm = &self };
    struct reel_text_rows a[N] = { 0 }, b[N] = { 0 };
    struct reel_text *own = NULL;
    int ok = !reel_text_open(&own, &o) && !reel_text_encode(own, (const char *const *)prompt, N, a);

    ok &= !reel_text_encode(t, (const char *const *)prompt, N, b);
    for (int i = 0; i < N && ok; i++) ok &= same(&a[i], &b[i], reel_text_dim(t));
    ok = ok && !strcmp(reel_text_id(own), reel_text_id(t));
    TAP_OK(all(ok), "weights shared by %d ranks: the bits, and the id, of one", world.size);
    drop(a, N), drop(b, N);
    reel_text_close(own);
}

/* Relative Euclidean distance of the golden samples in bf16 from f64. */
static void bf16(const struct reel_text *f32, const char *golden)
{
    static const double torch[] = { 5.19e-3, 5.38e-3, 5.07e-3 }; /* of 200, 17 and 1 tokens: transformers 5.23 in bf16 on the same ids */
    struct reel_encode_opts o = { .model = pipeline, .dtype = REEL_BF16, .s = &s, .comm = &world };
    struct reel_umt5 *u = NULL;
    struct reel_st *st = NULL;
    const struct reel_st_entry *e = NULL;
    double *want = NULL, *ids = NULL;

    if (golden_open(&st, golden, "encoder.safetensors") || reel_umt5_open(&u, &o)) reel_err_print(reel_errrec());
    if (st) want = golden_doubles(st, "out.f64", &e), ids = golden_doubles(st, "ids", NULL);
    TAP_OK(all(u && want && ids), "bf16: an encoder and its samples");
    for (int i = 0; i < 3 && u && want && ids; i++) {
        int len = (const int[]){ 200, 17, 1 }[i], d = reel_umt5_dim(u);
        int32_t id[REEL_UMT5_MOST];
        const int32_t *row = id;
        struct reel_text_rows out = { 0 };
        double diff = 0, sum = 0;
        int ok;
        for (int k = 0; k < len; k++) id[k] = (int32_t)ids[i * e->n[1] + k];
        ok = !reel_umt5_encode_ids(u, &row, &len, 1, &out) && out.n == len;
        for (int k = 0; k < len * d && ok; k++) {
            double w = want[i * e->n[1] * d + k];
            diff += ((double)out.rows[k] - w) * ((double)out.rows[k] - w), sum += w * w;
        }
        TAP_OK(all(ok && sqrt(diff / sum) < torch[i]), "bf16, %d tokens: %.2e of f64, PyTorch %.2e", len, sqrt(diff / sum), torch[i]);
        drop(&out, 1);
    }
    TAP_OK(u && strcmp(reel_umt5_id(u), reel_text_id(f32)) != 0, "bf16 has an id of its own: %s", u ? reel_umt5_id(u) : "");
    free(want), free(ids);
    reel_st_close(st);
    if (u) reel_umt5_close(u);
}

static void put_file(const char *path, const char *data, size_t bytes)
{
    if (world.rank == 0 && reel_file_write(path, data, bytes)) reel_err_print(reel_errrec());
    reel_comm_barrier(&world);
}

/* Every file of the cache, changed or counted. Local to rank 0. */
static int files(const char *dir, int break_it)
{
    char **name, **file, sub[PATH_MAX], path[PATH_MAX];
    size_t n, m;
    int count = 0;

    if (reel_list_dir(dir, &name, &n)) return reel_err_clear(), 0;
    for (size_t i = 0; i < n; i++) {
        if (reel_join(sub, sizeof sub, dir, name[i]) || reel_list_dir(sub, &file, &m)) continue;
        for (size_t k = 0; k < m; k++, count++) {
            FILE *f = !reel_join(path, sizeof path, sub, file[k]) && break_it ? fopen(path, "r+b") : NULL;
            if (!f) continue;
            fseek(f, -9, SEEK_END), fputc(count & 1 ? 0x55 : 0xaa, f), fclose(f);
        }
        reel_list_free(file, m);
    }
    reel_list_free(name, n);
    return count;
}

static void cache(struct reel_text *plain, char **prompt)
{
    char dir[PATH_MAX];
    struct reel_text_rows want[N] = { 0 }, got[N] = { 0 };
    int n = 20, ok, dim = reel_text_dim(plain), found;
    struct reel_text *t;

    snprintf(dir, sizeof dir, "%.4000s/cache", pipeline);
    t = open_text(pipeline, REEL_F32, dir);
    ok = !reel_text_encode(plain, (const char *const *)prompt, n, want);
    for (int turn = 0; turn < 2; turn++) { /* made, then found: all ranks write the same files at once */
        ok &= !reel_text_encode(t, (const char *const *)prompt, n, got);
        for (int i = 0; i < n; i++) ok &= same(&got[i], &want[i], dim);
        drop(got, n);
        reel_comm_barrier(&world);
    }
    found = world.rank ? 0 : files(dir, 0);
    TAP_OK(all(ok) && (world.rank || found == n), "%d prompts through the cache, made and found again", n);
    ok = reel_text_cache_get(dir, reel_text_id(t), prompt[3], dim, &got[0]) && same(&got[0], &want[3], dim) &&
         !reel_text_cache_get(dir, "umt5:other", prompt[3], dim, &got[1]) && !reel_text_cache_get(dir, reel_text_id(t), "other", dim, &got[1]);
    drop(got, 1);
    TAP_OK(all(ok), "a file answers for its encoder and prompt alone");
    reel_comm_barrier(&world);
    if (world.rank == 0) files(dir, 1);
    reel_comm_barrier(&world);
    ok = !reel_text_cache_get(dir, reel_text_id(t), prompt[3], dim, &got[0]);
    reel_comm_barrier(&world);
    ok &= !reel_text_encode(t, (const char *const *)prompt, world.rank ? 2 : n, got);
    for (int i = 0; i < (world.rank ? 2 : n); i++) ok &= same(&got[i], &want[i], dim);
    drop(got, n);
    reel_comm_barrier(&world);
    ok &= reel_text_cache_get(dir, reel_text_id(t), prompt[3], dim, &got[0]) && same(&got[0], &want[3], dim);
    TAP_OK(all(ok), "damaged files are made again");
    drop(got, n), drop(want, n);
    reel_text_close(t);
    t = open_text(pipeline, REEL_F32, "/proc/no/such/folder");
    ok = t && !reel_text_encode(t, (const char *const *)prompt, 3, got) && !reel_text_encode(t, (const char *const *)prompt, 3, want);
    TAP_OK(all(ok && same(&got[2], &want[2], dim)), "a folder that cannot be written costs the cache, not the rows");
    drop(got, 3), drop(want, 3);
    reel_text_close(t);
}

/* ---- files that are not right ---- */

static void refused(const char *what, const char *model, const char *words)
{
    struct reel_encode_opts o = { .model = model, .dtype = REEL_F32, .s = &s, .comm = &world };
    struct reel_text *t = NULL;
    reel_err e = reel_text_open(&t, &o);

    TAP_OK(all(e && !t && strstr(reel_errrec()->msg, words)), "%s: %s", what, e ? reel_errrec()->msg : "taken");
    reel_err_clear();
    reel_text_close(t);
}

static const char good[] = "{\"model_type\": \"umt5\", \"vocab_size\": 900, \"d_model\": 32, \"d_kv\": 12, \"num_heads\": 3, \"d_ff\": 56, "
                           "\"num_layers\": 3, \"feed_forward_proj\": \"gated-gelu\"}";

/* config.json with `from` become `to`. */
static void config(const char *dir, const char *from, const char *to)
{
    char path[PATH_MAX + 64], text[1024];
    const char *at = strstr(good, from);

    snprintf(path, sizeof path, "%s/text_encoder/config.json", dir);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    put_file(path, text, strlen(text));
}

static void bad_files(void)
{
    char dir[PATH_MAX - 128], path[PATH_MAX + 64], *weights = NULL, *tokens = NULL;
    size_t n = 0, m = 0;

    snprintf(dir, sizeof dir, "%.3000s/bad", pipeline);
    refused("no folder", dir, "bad");
    snprintf(path, sizeof path, "%s/text_encoder", dir);
    if (world.rank == 0) reel_mkdirs(path);
    snprintf(path, sizeof path, "%s/tokenizer", dir);
    if (world.rank == 0) reel_mkdirs(path);
    reel_comm_barrier(&world);
    refused("no config", dir, "config.json");
    config(dir, "umt5", "t5");
    refused("another model", dir, "model_type is \"t5\"");
    config(dir, "\"d_ff\": 56", "\"d_ff\": \"56\"");
    refused("text for a number", dir, "d_ff must be a whole number from 1 to");
    config(dir, "\"d_kv\": 12, ", "");
    refused("a missing number", dir, "d_kv is missing");
    config(dir, "gated-gelu", "relu");
    refused("another activation", dir, "feed_forward_proj is \"relu\"");
    config(dir, "umt5", "umt5");
    refused("no tokenizer", dir, "wanted tokenizer/spiece.model or tokenizer/tokenizer.json");
    snprintf(path, sizeof path, "%s/tokenizer/spiece.model", pipeline);
    reel_file_read(path, &tokens, &n);
    snprintf(path, sizeof path, "%s/tokenizer/spiece.model", dir);
    put_file(path, tokens, n / 2);
    refused("half a tokenizer", dir, "not a SentencePiece model");
    put_file(path, tokens, n);
    config(dir, "\"vocab_size\": 900", "\"vocab_size\": 800");
    refused("more pieces than rows", dir, "822 pieces, but the text encoder's vocab_size is 800");
    config(dir, "umt5", "umt5");
    refused("no weights", dir, "safetensors");
    snprintf(path, sizeof path, "%s/text_encoder/model.safetensors", pipeline);
    reel_file_read(path, &weights, &m);
    snprintf(path, sizeof path, "%s/text_encoder/model.safetensors", dir);
    put_file(path, weights, m - 1000);
    refused("cut off weights", dir, "model.safetensors");
    put_file(path, weights, m);
    config(dir, "\"d_ff\": 56", "\"d_ff\": 64");
    refused("other shapes", dir, "mis-shaped 9: ");
    config(dir, "\"num_layers\": 3", "\"num_layers\": 4");
    refused("missing layers", dir, "missing 10: encoder.block.3.layer.0.layer_norm.weight");
    config(dir, "umt5", "umt5");
    free(weights), free(tokens);
}

static void changed_weight(const struct reel_text *right)
{
    char path[PATH_MAX], dir[PATH_MAX - 128];
    struct reel_text *t;
    int ok;

    snprintf(dir, sizeof dir, "%.3000s/bad", pipeline);
    snprintf(path, sizeof path, "%s/text_encoder/model.safetensors", dir);
    t = open_text(dir, REEL_F32, NULL);
    TAP_OK(all(t && !strcmp(reel_text_id(t), reel_text_id(right))), "a copy of the files has the id %s", reel_text_id(right));
    reel_text_close(t);
    if (world.rank == 0) {
        FILE *f = fopen(path, "r+b");
        if (f) fseek(f, -70001, SEEK_END), fputc(1, f), fclose(f);
    }
    reel_comm_barrier(&world);
    t = open_text(dir, REEL_F32, NULL);
    ok = t && strcmp(reel_text_id(t), reel_text_id(right));
    TAP_OK(all(ok), "one other byte of a weight is another encoder");
    reel_text_close(t);
}

static void properties(const char *golden)
{
    struct reel_text *t = open_text(pipeline, REEL_F32, NULL);
    char *prompt[N];

    for (int i = 0; i < N; i++) prompt[i] = prompt_of(i);
    if (TAP_OK(t != NULL, "opened")) {
        alone_and_together(t, prompt);
        shared_and_not(t, prompt);
        bf16(t, golden);
        cache(t, prompt);
        bad_files();
        changed_weight(t);
    }
    reel_text_close(t);
    for (int i = 0; i < N; i++) free(prompt[i]);
}

int main(int argc, char **argv)
{
    struct golden g = { .world = &world, .quiet = 1 };
    char dir[PATH_MAX];
    int bad = 0;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    snprintf(dir, sizeof dir, "%s/tests/golden/umt5", getenv("REEL_SRC"));
    golden_umt5(&g, dir);
    TAP_OK(!g.failed && g.passed > 12, "golden/umt5 on %d: %d right, %d wrong", world.size, g.passed, g.failed);
    bad = golden_umt5_pipeline(&world, dir, pipeline);
    if (TAP_OK(!bad && !test_backend(&be, world.size > 1 ? 1 : 3), "a folder and a backend")) {
        reel_stream_init(&s, be, 0, NULL);
        properties(dir);
        reel_backend_close(be);
    }
    reel_comm_barrier(&world);
    if (world.rank == 0) reel_rmtree(pipeline);
    bad = tap_done();
    reel_comm_stop();
    return bad;
}
