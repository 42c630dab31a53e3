/* A unigram tokenizer.json, step by step as the Hugging Face library runs it: added tokens are cut out of the text; what is
 * between them is normalised, cut into words, and each word into the pieces with the largest sum of scores.
 * Source: huggingface/tokenizers, models/unigram/model.rs encode_optimized, pre_tokenizers/metaspace.rs. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "encode/tokenizer.h"

#define SPACE       "\xe2\x96\x81" /* U+2581 */
#define SPACE_BYTES 3
#define UNK_PENALTY 10.0
#define MAX_STEPS   8

struct piece { const char *text; size_t bytes; double score; };

/* What is done to the text between added tokens, in the file's order. */
enum step { STRIP_LEFT = 1, STRIP_RIGHT = 2, RUNS_TO_SPACE = 4, RUNS_TO_MARK = 8 };

struct reel_unigram {
    json_t *json; /* owns the pieces' texts */
    struct piece *piece;
    int n, unk, eos, n_added, n_steps, split_white;
    double unk_score;
    size_t longest;   /* bytes of a piece */
    int *slot;        /* hash table of pieces: index + 1, 0 empty */
    size_t mask;
    int *added_id;    /* added tokens, the longest first */
    struct piece *added;
    enum step step[MAX_STEPS];
};

/* Ids found so far. */
struct ids { int32_t *id; int most, n; };

static void put_id(struct ids *out, int id)
{
    if (out->n < out->most) out->id[out->n] = id;
    out->n++;
}

/* ---- characters ---- */

static size_t char_bytes(const char *s, size_t left)
{
    unsigned char c = (unsigned char)*s;
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    return n < left ? n : left;
}

/* Whether s begins with a character of Unicode's White_Space. */
static int is_white(const char *s, size_t left)
{
    static const char *const wide[] = {
        "\xc2\x85", "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
    };

    if (!left) return 0;
    if (*s == ' ' || (*s >= '\t' && *s <= '\r')) return 1;
    if (left >= 3 && !memcmp(s, "\xe2\x80", 2) && (unsigned char)s[2] >= 0x80 && (unsigned char)s[2] <= 0x8a) return 1;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (left >= strlen(wide[i]) && !memcmp(s, wide[i], strlen(wide[i]))) return 1;
    return 0;
}

/* ---- pieces ---- */

static uint64_t hash_of(const char *s, size_t n)
{
    uint64_t h = reel_fnv(REEL_FNV, s, n);

    return h ^ h >> 29;
}

static int *slot_of(const struct reel_unigram *u, const char *s, size_t n)
{
    size_t at = hash_of(s, n) & u->mask;

    while (u->slot[at]) {
        const struct piece *p = &u->piece[u->slot[at] - 1];
        if (p->bytes == n && !memcmp(p->text, s, n)) break;
        at = (at + 1) & u->mask;
    }
    return &u->slot[at];
}

/* The best segmentation of the text before a place: where its last piece begins and, once known, the piece after it ends. */
struct node { double score; size_t from, next; int id, there; };

static void offer(struct node *to, double score, size_t from, int id)
{
    if (to->there && !(score > to->score)) return;
    *to = (struct node){ score, from, 0, id, 1 };
}

/* Unknown characters side by side are one unknown token. */
static void emit(const struct reel_unigram *u, struct node *best, size_t n, struct ids *out)
{
    int before = -1;

    for (size_t at = n; at > 0; at = best[at].from) best[best[at].from].next = at;
    for (size_t at = 0; at < n; before = best[at].id) {
        at = best[at].next;
        if (best[at].id != u->unk || before != u->unk) put_id(out, best[at].id);
    }
}

static reel_err segment(const struct reel_unigram *u, const char *s, size_t n, struct ids *out)
{
    struct node *best = calloc(n + 1, sizeof *best);

    if (!best) return REEL_FAIL(REEL_ENOMEM, "no memory for the tokens of a word of %zu bytes", n);
    for (size_t at = 0, step; at < n; at += step) {
        int single = 0;
        step = char_bytes(s + at, n - at);
        for (size_t len = 1; len <= u->longest && at + len <= n; len++) {
            int k = *slot_of(u, s + at, len) - 1;
            if (k < 0) continue;
            offer(&best[at + len], best[at].score + u->piece[k].score, at, k);
            single |= len == step;
        }
        if (!single) offer(&best[at + step], best[at].score + u->unk_score, at, u->unk);
    }
    emit(u, best, n, out);
    free(best);
    return REEL_OK;
}

/* ---- from text to words ---- */

/* Spaces become the mark, one stands in front, and a mark begins a word. s has room for the one in front. */
static reel_err words(const struct reel_unigram *u, const char *s, size_t n, struct ids *out)
{
    char *w;
    size_t m = 0;
    reel_err e = REEL_OK;

    if (!n) return REEL_OK;
    w = malloc(SPACE_BYTES * (n + 1));
    if (!w) return REEL_FAIL(REEL_ENOMEM, "no memory for a prompt of %zu bytes", n);
    if (*s != ' ' && (n < SPACE_BYTES || memcmp(s, SPACE, SPACE_BYTES))) memcpy(w, SPACE, m = SPACE_BYTES);
    for (size_t i = 0; i < n; i++) {
        if (s[i] != ' ') w[m++] = s[i];
        else memcpy(w + m, SPACE, SPACE_BYTES), m += SPACE_BYTES;
    }
    for (size_t at = 0, end; at < m && !e; at = end) {
        for (end = at + 1; end < m && (m - end < SPACE_BYTES || memcmp(w + end, SPACE, SPACE_BYTES)); end++) continue;
        e = segment(u, w + at, end - at, out);
    }
    free(w);
    return e;
}

/* dst has room for 3 bytes for each 2 of src */
static size_t runs(char *dst, const char *src, size_t n, const char *mark)
{
    size_t m = 0, k = strlen(mark);

    for (size_t i = 0, run; i < n; i += run) {
        for (run = 0; i + run < n && src[i + run] == ' ';) run++;
        if (run < 2) dst[m++] = src[i], run = 1;
        else memcpy(dst + m, mark, k), m += k;
    }
    return m;
}

static size_t strip(enum step how, char *s, size_t n)
{
    size_t at = 0, end = 0;

    while (how & STRIP_LEFT && at < n && is_white(s + at, n - at)) at += char_bytes(s + at, n - at);
    for (size_t i = at; i < n; i += char_bytes(s + i, n - i))
        if (!(how & STRIP_RIGHT) || !is_white(s + i, n - i)) end = i + char_bytes(s + i, n - i);
    if (end < at) end = at;
    memmove(s, s + at, end - at);
    return end - at;
}

/* `spare` is as large as s */
static size_t normalise(const struct reel_unigram *u, char *s, char *spare, size_t n)
{
    for (int i = 0; i < u->n_steps; i++) {
        if (u->step[i] & (STRIP_LEFT | STRIP_RIGHT)) {
            n = strip(u->step[i], s, n);
            continue;
        }
        memcpy(spare, s, n);
        n = runs(s, spare, n, u->step[i] == RUNS_TO_MARK ? SPACE : " ");
    }
    return n;
}

/* Text between added tokens. */
static reel_err stretch(const struct reel_unigram *u, const char *text, size_t n, struct ids *out)
{
    char *s = n ? malloc(4 * n) : NULL;
    reel_err e = REEL_OK;

    if (!n) return REEL_OK;
    if (!s) return REEL_FAIL(REEL_ENOMEM, "no memory for a prompt of %zu bytes", n);
    memcpy(s, text, n);
    n = normalise(u, s, s + 2 * n, n);
    if (!u->split_white) e = words(u, s, n, out);
    for (size_t at = 0, end; u->split_white && at < n && !e; at = end) {
        for (end = at; end < n && !is_white(s + end, n - end);) end += char_bytes(s + end, n - end);
        if (end > at) e = words(u, s + at, end - at, out);
        else end += char_bytes(s + end, n - end);
    }
    free(s);
    return e;
}

static int added_at(const struct reel_unigram *u, const char *s, size_t left)
{
    for (int i = 0; i < u->n_added; i++)
        if (u->added[i].bytes <= left && !memcmp(s, u->added[i].text, u->added[i].bytes)) return i;
    return -1;
}

reel_err reel_unigram_encode(const struct reel_unigram *u, const char *text, int32_t *id, int most, int *n)
{
    struct ids out = { id, most, 0 };
    size_t bytes = strlen(text), from = 0, at = 0;
    reel_err e = REEL_OK;

    while (at < bytes && !e) {
        int k = added_at(u, text + at, bytes - at);
        if (k < 0) {
            at++;
            continue;
        }
        e = stretch(u, text + from, at - from, &out);
        put_id(&out, u->added_id[k]);
        from = at += u->added[k].bytes;
    }
    if (!e) e = stretch(u, text + from, bytes - from, &out);
    *n = out.n;
    return e;
}

/* ---- the file ---- */

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static int is_true(const json_t *o, const char *key) { return json_is_true(json_object_get(o, key)); }

static reel_err unsupported(const char *where, const char *what, const json_t *o)
{
    return REEL_FAIL(REEL_EDATA, "%s: %s \"%s\" is not supported; put spiece.model into this folder instead", where, what,
                     text_of(o, "type"));
}

static reel_err read_vocab(struct reel_unigram *u, const json_t *model, const char *where)
{
    const json_t *vocab = json_object_get(model, "vocab");
    size_t n = json_array_size(vocab), slots = 16;
    double least = 0;

    if (strcmp(text_of(model, "type"), "Unigram")) return unsupported(where, "model", model);
    if (is_true(model, "byte_fallback")) return REEL_FAIL(REEL_EDATA, "%s: byte_fallback is not supported", where);
    u->unk = (int)json_integer_value(json_object_get(model, "unk_id"));
    if (!n || n > INT32_MAX / 2 || !json_is_integer(json_object_get(model, "unk_id")) || u->unk < 0 || (size_t)u->unk >= n)
        return REEL_FAIL(REEL_EDATA, "%s: model.unk_id is not one of the %zu pieces of model.vocab", where, n);
    while (slots < 2 * n) slots *= 2;
    u->n = (int)n, u->mask = slots - 1;
    u->piece = calloc(n, sizeof *u->piece);
    u->slot = calloc(slots, sizeof *u->slot);
    if (!u->piece || !u->slot) return REEL_FAIL(REEL_ENOMEM, "no memory for %zu pieces", n);
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(vocab, i), *s = json_array_get(pair, 0), *score = json_array_get(pair, 1);
        if (!json_is_string(s) || !json_is_number(score))
            return REEL_FAIL(REEL_EDATA, "%s: model.vocab[%zu] is not [piece, score]", where, i);
        u->piece[i] = (struct piece){ json_string_value(s), json_string_length(s), json_number_value(score) };
        if (!u->piece[i].bytes) continue;
        *slot_of(u, u->piece[i].text, u->piece[i].bytes) = (int)i + 1;
        if (u->piece[i].bytes > u->longest) u->longest = u->piece[i].bytes;
        if (!i || u->piece[i].score < least) least = u->piece[i].score;
    }
    u->unk_score = least - UNK_PENALTY;
    return REEL_OK;
}

static reel_err read_added(struct reel_unigram *u, const json_t *list, const char *where)
{
    size_t n = json_array_size(list);

    u->eos = -1;
    u->added = calloc(n + 1, sizeof *u->added);
    u->added_id = calloc(n + 1, sizeof *u->added_id);
    if (!u->added || !u->added_id) return REEL_FAIL(REEL_ENOMEM, "no memory for %zu added tokens", n);
    for (size_t i = 0; i < n; i++) {
        const json_t *t = json_array_get(list, i);
        struct piece p = { text_of(t, "content"), strlen(text_of(t, "content")), 0 };
        int id = (int)json_integer_value(json_object_get(t, "id")), at = u->n_added++;
        if (!p.bytes || id < 0 || is_true(t, "normalized") || is_true(t, "lstrip") || is_true(t, "rstrip") || is_true(t, "single_word"))
            return REEL_FAIL(REEL_EDATA, "%s: added token \"%s\" (normalized, lstrip, rstrip or single_word) is not supported; put "
                             "spiece.model into this folder instead", where, p.text);
        for (; at > 0 && u->added[at - 1].bytes < p.bytes; at--) u->added[at] = u->added[at - 1], u->added_id[at] = u->added_id[at - 1];
        u->added[at] = p, u->added_id[at] = id;
        if (!strcmp(p.text, "</s>")) u->eos = id;
        if (id >= u->n) u->n = id + 1;
    }
    return u->eos < 0 ? REEL_FAIL(REEL_EDATA, "%s: no added token \"</s>\" to end a sequence", where) : REEL_OK;
}

static reel_err read_normalizer(struct reel_unigram *u, const json_t *o, const char *where)
{
    const char *type = text_of(o, "type"), *to = text_of(o, "content");
    const json_t *one, *list = json_object_get(o, "normalizers");
    size_t i;
    int how = 0;

    if (!o || json_is_null(o)) return REEL_OK;
    if (!strcmp(type, "Sequence")) {
        json_array_foreach(list, i, one) REEL_TRY(read_normalizer(u, one, where));
        return REEL_OK;
    }
    if (!strcmp(type, "Strip")) how = is_true(o, "strip_left") * STRIP_LEFT | is_true(o, "strip_right") * STRIP_RIGHT;
    else if (!strcmp(type, "Replace") && !strcmp(text_of(json_object_get(o, "pattern"), "Regex"), " {2,}"))
        how = !strcmp(to, " ") ? RUNS_TO_SPACE : !strcmp(to, SPACE) ? RUNS_TO_MARK : 0;
    if (!how || u->n_steps == MAX_STEPS) return unsupported(where, "normalizer", o);
    u->step[u->n_steps++] = (enum step)how;
    return REEL_OK;
}

static int is_metaspace(const json_t *o)
{
    const json_t *split = json_object_get(o, "split");

    return !strcmp(text_of(o, "type"), "Metaspace") && !strcmp(text_of(o, "replacement"), SPACE) && (!split || json_is_true(split)) &&
           (!strcmp(text_of(o, "prepend_scheme"), "always") || (!json_object_get(o, "prepend_scheme") && is_true(o, "add_prefix_space")));
}

static reel_err read_pre_tokenizer(struct reel_unigram *u, const json_t *o, const char *where)
{
    const json_t *list = json_object_get(o, "pretokenizers");

    if (is_metaspace(o)) return REEL_OK;
    u->split_white = !strcmp(text_of(json_array_get(list, 0), "type"), "WhitespaceSplit");
    if (json_array_size(list) == 2 && u->split_white && is_metaspace(json_array_get(list, 1))) return REEL_OK;
    return unsupported(where, "pre_tokenizer", o);
}

static reel_err read_json(struct reel_unigram *u, const char *json, size_t bytes, const char *where)
{
    REEL_TRY(reel_json_parse(&u->json, json, bytes, where));
    REEL_TRY(read_vocab(u, json_object_get(u->json, "model"), where));
    REEL_TRY(read_added(u, json_object_get(u->json, "added_tokens"), where));
    REEL_TRY(read_normalizer(u, json_object_get(u->json, "normalizer"), where));
    return read_pre_tokenizer(u, json_object_get(u->json, "pre_tokenizer"), where);
}

reel_err reel_unigram_open(struct reel_unigram **out, const char *json, size_t bytes, const char *where)
{
    struct reel_unigram *u = calloc(1, sizeof *u);
    reel_err e = u ? read_json(u, json, bytes, where) : REEL_FAIL(REEL_ENOMEM, "no memory for a tokenizer");

    if (e) return reel_unigram_close(u), e;
    *out = u;
    return REEL_OK;
}

void reel_unigram_close(struct reel_unigram *u)
{
    if (!u) return;
    json_decref(u->json);
    free(u->piece), free(u->slot), free(u->added), free(u->added_id);
    free(u);
}

int reel_unigram_pieces(const struct reel_unigram *u) { return u->n; }

int reel_unigram_eos(const struct reel_unigram *u) { return u->eos; }
