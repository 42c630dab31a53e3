#include "ckpt/names.h"

#include <stdio.h>
#include <string.h>

/* A row: the same parameter, or prefix of parameters (ends in '.'), under its names. NULL: none.
 * Beware of norm3: in the original it is the affine norm before cross attention, which Diffusers
 * calls norm2. */
enum { DIFFUSERS, FASTVIDEO, ORIGINAL, N_NAMINGS };
struct row { const char *name[N_NAMINGS]; };

static const struct row block[] = { /* behind "blocks.<i>." */
    { { "scale_shift_table", "scale_shift_table", "modulation" } },
    { { "attn1.to_q.", "to_q.", "self_attn.q." } },
    { { "attn1.to_k.", "to_k.", "self_attn.k." } },
    { { "attn1.to_v.", "to_v.", "self_attn.v." } },
    { { "attn1.to_out.0.", "to_out.", "self_attn.o." } },
    { { "attn1.norm_q.", "norm_q.", "self_attn.norm_q." } },
    { { "attn1.norm_k.", "norm_k.", "self_attn.norm_k." } },
    { { "attn2.to_q.", "attn2.to_q.", "cross_attn.q." } },
    { { "attn2.to_k.", "attn2.to_k.", "cross_attn.k." } },
    { { "attn2.to_v.", "attn2.to_v.", "cross_attn.v." } },
    { { "attn2.to_out.0.", "attn2.to_out.", "cross_attn.o." } },
    { { "attn2.norm_q.", "attn2.norm_q.", "cross_attn.norm_q." } },
    { { "attn2.norm_k.", "attn2.norm_k.", "cross_attn.norm_k." } },
    { { "norm2.", "self_attn_residual_norm.norm.", "norm3." } },
    { { "ffn.net.0.proj.", "ffn.fc_in.", "ffn.0." } },
    { { "ffn.net.2.", "ffn.fc_out.", "ffn.2." } },
};

#define CE "condition_embedder."
static const struct row top[] = {
    { { "patch_embedding.", "patch_embedding.proj.", "patch_embedding." } },
    { { CE "text_embedder.linear_1.", CE "text_embedder.fc_in.", "text_embedding.0." } },
    { { CE "text_embedder.linear_2.", CE "text_embedder.fc_out.", "text_embedding.2." } },
    { { CE "time_embedder.linear_1.", CE "time_embedder.mlp.fc_in.", "time_embedding.0." } },
    { { CE "time_embedder.linear_2.", CE "time_embedder.mlp.fc_out.", "time_embedding.2." } },
    { { CE "delta_embedder.linear_1.", CE "delta_embedder.mlp.fc_in.", NULL } },
    { { CE "delta_embedder.linear_2.", CE "delta_embedder.mlp.fc_out.", NULL } },
    { { CE "time_proj.", CE "time_modulation.linear.", "time_projection.1." } },
    { { CE "image_embedder.ff.net.0.proj.", CE "image_embedder.ff.fc_in.", NULL } },
    { { CE "image_embedder.ff.net.2.", CE "image_embedder.ff.fc_out.", NULL } },
    { { "scale_shift_table", "scale_shift_table", "head.modulation" } },
    { { "proj_out.", "proj_out.", "head.head." } },
};

/* Length matched: a prefix, or the whole name. 0: no. */
static size_t matched(const char *s, const char *pat)
{
    size_t n = pat ? strlen(pat) : 0;

    if (!n || strncmp(s, pat, n) != 0) return 0;
    return pat[n - 1] == '.' || s[n] == 0 ? n : 0;
}

/* Longest match of s among the namings first..last; its row's name in `to` replaces it. */
static void translate(char *out, size_t size, const char *s, const struct row *rows, size_t n, int first, int last,
                      int to)
{
    const char *with = NULL;
    size_t best = 0;

    for (size_t i = 0; i < n; i++)
        for (int k = first; k <= last; k++) {
            size_t m = matched(s, rows[i].name[k]);
            if (m > best) best = m, with = rows[i].name[to];
        }
    snprintf(out, size, "%s%s", with ? with : "", s + (with ? best : 0));
}

static void rename_all(char *out, const char *name, int first, int last, int to)
{
    int i = -1, at = 0;

    if (sscanf(name, "blocks.%d.%n", &i, &at) == 1 && at > 0 && i >= 0) {
        int used = snprintf(out, REEL_NAME_MAX, "blocks.%d.", i);
        translate(out + used, (size_t)(REEL_NAME_MAX - used), name + at, block, sizeof block / sizeof *block, first,
                  last, to);
    } else {
        translate(out, REEL_NAME_MAX, name, top, sizeof top / sizeof *top, first, last, to);
    }
}

static void drop(char *s, const char *part)
{
    for (char *p; (p = strstr(s, part));) memmove(p, p + strlen(part), strlen(p + strlen(part)) + 1);
}

void reel_name_diffusers(char out[REEL_NAME_MAX], const char *name)
{
    char plain[REEL_NAME_MAX];

    snprintf(plain, sizeof plain, "%s", name);
    drop(plain, "_checkpoint_wrapped_module.");
    drop(plain, "_fsdp_wrapped_module.");
    drop(plain, "_orig_mod.");
    drop(plain, "model.diffusion_model.");
    rename_all(out, plain, DIFFUSERS, ORIGINAL, DIFFUSERS);
}

void reel_name_fastvideo(char out[REEL_NAME_MAX], const char *name)
{
    rename_all(out, name, DIFFUSERS, DIFFUSERS, FASTVIDEO);
}

void reel_name_wrapped(char out[REEL_NAME_MAX], const char *fastvideo)
{
    int i, at = 0;

    if (sscanf(fastvideo, "blocks.%d.%n", &i, &at) != 1 || !at) snprintf(out, REEL_NAME_MAX, "%s", fastvideo);
    else snprintf(out, REEL_NAME_MAX, "%.*s_checkpoint_wrapped_module.%s", at, fastvideo, fastvideo + at);
}
