/* A Wan transformer's parameters as Diffusers, FastVideo and the original files call them. Beware of norm3: in the
 * original it is the affine norm before cross attention, which Diffusers calls norm2. */
#include "models/wan_priv.h"

static const struct reel_name_row block[] = { /* behind "blocks.<i>." */
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
static const struct reel_name_row top[] = {
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

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))
const struct reel_naming reel_wan_naming = { top, block, COUNT(top), COUNT(block) };
