#ifndef REEL_BE_OPS_H
#define REEL_BE_OPS_H

/* The checked front of every operator: shapes and dtypes are proved here once for all backends
 * (a mismatch is a bug and dies), planning streams return here, then the backend's kernel of
 * kernels/ops.def runs. All functions are Local and asynchronous on s.
 *
 * dt: activations and matrices are f32 or bf16; vectors (bias, norm weights, modulation), saved
 * statistics and every parameter gradient are f32. Sums are f32 (or f64 where said) in a fixed
 * order that depends on reel_rows alone, never on threads. A parameter gradient over no rows is -0, which changes no
 * bits of what it is added to. */

#include "be/be.h"

/* struct reel_rows, enum reel_epi and struct reel_adamw: kernels/kernels.h. */

/**
 * reel_rows_make - rows of b whole samples of s tokens; per_mod tokens share a modulation row. Local.
 * runs is the largest of 8, 4, 2, 1 that leaves a run at least 8 tokens (1 if s < 16).
 */
struct reel_rows reel_rows_make(int64_t b, int64_t s, int64_t per_mod);
/**
 * reel_rows_part - the rows that member `rank` of `size` sequence parallel ranks holds of b samples
 * of S tokens: whole runs, ceil(runs/size) rounded up to a power of two, so that they are a subtree of the sums over runs;
 * the last members hold fewer or none. Local.
 */
struct reel_rows reel_rows_part(int64_t b, int64_t S, int64_t per_mod, int rank, int size);

/* y[M,N] = epi(x[M,K] w[N,K]^T + bias[N]); bias may be null (p NULL, nd 0). pre: where the value
 * before epi is kept for the backward pass, or nd 0. REEL_EPI_ADD: y += x w^T, without bias and pre.
 * cut says in which pieces the K features are added; a partial y is f32 (struct reel_cut). */
void reel_linear_fwd(struct reel_stream *s, reel_tensor y, reel_tensor pre, reel_tensor x, reel_tensor w,
                     reel_tensor bias, struct reel_rows r, struct reel_cut cut, enum reel_epi epi);
/* dx[M,K] (= or +=) dy[M,N] w[N,K]; cut is that of the sum over N */
void reel_linear_bwd_x(struct reel_stream *s, reel_tensor dx, reel_tensor dy, reel_tensor w,
                       struct reel_rows r, struct reel_cut cut, int acc);
/* the same of n layers that share their input: dx (= or +=) dy[0] w[0] + dy[1] w[1] + ..., one sum (struct reel_terms) */
void reel_linear_bwd_xs(struct reel_stream *s, reel_tensor dx, const reel_tensor *dy, const reel_tensor *w, int n,
                        struct reel_rows r, struct reel_cut cut, int acc);
/* The end of a product whose partial results were added: y[M,N] (= or +=) x[M,N] + bias[N]; x, bias f32 (bias nd 0:
 * none), rounded once to y's dtype. y may be x. */
void reel_sum_end(struct reel_stream *s, reel_tensor y, reel_tensor x, reel_tensor bias, int acc);
/* dw[N,K] += dy^T x; db[N] += column sums of dy (db nd 0: none). f32. acc 0: overwrite. cut is that of
 * linear_bwd_x: N in its pieces, K in its cols. */
void reel_linear_bwd_w(struct reel_stream *s, reel_tensor dw, reel_tensor db, reel_tensor x, reel_tensor dy,
                       struct reel_rows r, struct reel_cut cut, int acc);

/* LayerNorm, biased variance, eps inside the root, then y = xhat*(1 + scale) + shift, where scale and
 * shift are rows scale_row and shift_row of mod[nmod,R,D] f32. nmod is a multiple of b; token t of
 * sample i takes mod row i*(nmod/b) + t/per_mod. mean, rstd out [M] f32. y may alias x. */
void reel_ln_mod_fwd(struct reel_stream *s, reel_tensor y, reel_tensor mean, reel_tensor rstd, reel_tensor x,
                     reel_tensor mod, int shift_row, int scale_row, struct reel_rows r, double eps);
/* dx (= or +=, may alias dy); dmod [nmod,R,D]: rows shift_row and scale_row += */
void reel_ln_mod_bwd(struct reel_stream *s, reel_tensor dx, int acc, reel_tensor dmod, reel_tensor dy,
                     reel_tensor x, reel_tensor mean, reel_tensor rstd, reel_tensor mod, int shift_row,
                     int scale_row, struct reel_rows r);
/* the same with y = xhat*w + b; w, b [D] f32. bwd: dw, db (= or += by pacc), or both nd 0. */
void reel_ln_affine_fwd(struct reel_stream *s, reel_tensor y, reel_tensor mean, reel_tensor rstd,
                        reel_tensor x, reel_tensor w, reel_tensor b, struct reel_rows r, double eps);
void reel_ln_affine_bwd(struct reel_stream *s, reel_tensor dx, int acc, reel_tensor dw, reel_tensor db,
                        reel_tensor dy, reel_tensor x, reel_tensor mean, reel_tensor rstd, reel_tensor w,
                        struct reel_rows r, int pacc);

/* y = sqrt(D) w x / max(|x|, 1e-12) of each row of x[..., D], then x sigmoid(x) if silu; w [D] f32. y may alias x.
 * Source: diffusers autoencoder_kl_wan.py:WanRMS_norm @58eb52c0. */
void reel_unit_fwd(struct reel_stream *s, reel_tensor y, reel_tensor x, reel_tensor w, int silu);

/* How a convolution moves: stride in time, stride and zeros before the first pixel in rows and columns (after the last one as
 * many as y needs); up: frames are doubled in rows and columns first, each pixel four times; acc: y += */
struct reel_conv_how { int st, ss, pad, up, acc; };
/* y[T',H',W',N] (= or +=) sum over taps of x[T,H,W,C] w[N,kt,kh,kw,C], plus bias [N] f32: cross-correlation, as in PyTorch. The taps of
 * result j in time begin at frame j*st of those in `past` followed by x; past [(T'-1) st + kt - T, H, W, C], nd 0: zeros.
 * Temporary memory is bounded, whatever the picture. */
void reel_conv_fwd(struct reel_stream *s, reel_tensor y, reel_tensor x, reel_tensor past, reel_tensor w, reel_tensor bias,
                   struct reel_conv_how how);

/* q/k norm: y = x * rstd * w over the full width D = heads*d, then rotation of adjacent pairs
 * within each head by cos, sin [s, d/2] f32 (nd 0: none). rstd out [M]. w nd 0: rotation alone, rstd is not used.
 * y may alias x. The sum over a row is one sum per head, then the tree over the head's index: dots [M,all heads] f32 are
 * those sums (reel_rms_dots) of all tensor parallel ranks, and D is that of all of them; nd 0: all heads are here. */
void reel_rms_rope_fwd(struct reel_stream *s, reel_tensor y, reel_tensor rstd, reel_tensor x, reel_tensor w,
                       reel_tensor cos, reel_tensor sin, struct reel_rows r, int heads, double eps, reel_tensor dots);
/* dx overwritten (may alias dy); dw f32 (= or += by pacc, nd 0: none). w nd 0: x and rstd are not used. dots: as
 * above, the sums of the backward pass. */
void reel_rms_rope_bwd(struct reel_stream *s, reel_tensor dx, reel_tensor dw, reel_tensor dy, reel_tensor x,
                       reel_tensor rstd, reel_tensor w, reel_tensor cos, reel_tensor sin, struct reel_rows r,
                       int heads, int pacc, reel_tensor dots);
/* dots[M,heads] f32 = per head, of the heads held here: the sum of x^2 (dy nd 0), or of g*w*x, where g is dy rotated back. */
void reel_rms_dots(struct reel_stream *s, reel_tensor dots, reel_tensor dy, reel_tensor x, reel_tensor w,
                   reel_tensor cos, reel_tensor sin, struct reel_rows r, int heads);

/* o[B,Sq,D], lse[B,heads,Sq] f32 from q[B,Sq,D], k,v[B,Sk,D]; scale 1/sqrt(d). Never forms S x S. The mask says
 * which keys a query sees (kernels/mask.h): time and flops go with the pairs seen, and rows of k and v that nobody sees
 * are not read into any result. Sk of a cache is its capacity. */
void reel_attn_fwd(struct reel_stream *s, reel_tensor o, reel_tensor lse, reel_tensor q, reel_tensor k,
                   reel_tensor v, int heads, struct reel_mask mask);
/* The same of one sequence with relative positions instead of the scale (T5): o,q,k,v [n,D], rel f32 [heads,2N-1], N >= n;
 * rel[head][N-1 + i-j] is added to the score of query i and key j. What n rows become does not depend on N. */
void reel_attn_rel_fwd(struct reel_stream *s, reel_tensor o, reel_tensor q, reel_tensor k, reel_tensor v, reel_tensor rel);
/* dq[B,Sq,D] and dk,dv[B,G,D] overwritten; dk, dv are those of key rows dk0..dk0+G-1, 0 where no query sees the key.
 * The other keys are constants. */
void reel_attn_bwd(struct reel_stream *s, reel_tensor dq, reel_tensor dk, reel_tensor dv, reel_tensor dout,
                   reel_tensor o, reel_tensor lse, reel_tensor q, reel_tensor k, reel_tensor v, int heads,
                   struct reel_mask mask, int64_t dk0);
/* The same where every query sees every key, but dk and dv are partial sums, f32 [B,runs,Sk,D]: of each run of r's queries
 * that is not empty, for a tree over runs. */
void reel_attn_bwd_runs(struct reel_stream *s, reel_tensor dq, reel_tensor dk, reel_tensor dv, reel_tensor dout,
                        reel_tensor o, reel_tensor lse, reel_tensor q, reel_tensor k, reel_tensor v, int heads,
                        struct reel_rows r);

/* Tiles of a token grid (struct reel_tiles), i32: start [n+1], order [S]. */
struct reel_tile_index { reel_tensor start, order; };
/* y[B,n,D] = mean over each tile's tokens of x[B,S,D]: f32 sum in the tile's order */
void reel_tile_mean(struct reel_stream *s, reel_tensor y, reel_tensor x, struct reel_tile_index index);
/* y[B,S,D] = gate * c[B,n,D] of the token's tile + x; y may alias x */
void reel_tile_gate_fwd(struct reel_stream *s, reel_tensor y, reel_tensor gate, reel_tensor c, reel_tensor x,
                        struct reel_tile_index index);
/* dgate = dy * c (may alias gate); dc[B,n,D] = sum over the tile of gate * dy. (dx is dy itself.) */
void reel_tile_gate_bwd(struct reel_stream *s, reel_tensor dgate, reel_tensor dc, reel_tensor dy, reel_tensor gate,
                        reel_tensor c, struct reel_tile_index index);
/* Sparse attention (FastVideo's Video Sparse Attention). sel[B,heads,n,topk] i32 = for each block of queries the
 * topk blocks of keys with the largest q.k/sqrt(d), rounded to q's type: those above the k-th, then those equal
 * to it by increasing index; in increasing order. q, k [B,n,D] are means of tiles. scores [B,heads,n,n] f32 or nd 0. */
void reel_vsa_select(struct reel_stream *s, reel_tensor sel, reel_tensor scores, reel_tensor q, reel_tensor k, int heads);
/* o[B,S,D], lse[B,heads,S] f32: attention of each token over the tokens of the blocks that its block chose. A list
 * may end early, with -1; an empty one gives 0 and -infinity. Time and memory O(S topk) and O(S). */
void reel_vsa_fwd(struct reel_stream *s, reel_tensor o, reel_tensor lse, reel_tensor q, reel_tensor k, reel_tensor v,
                  reel_tensor sel, struct reel_tile_index index, int heads);
/* dq, dk, dv overwritten; each token gets dqc, dkc, dvc [B,n,D] of its tile over the tile's size besides (nd 0: none) */
void reel_vsa_bwd(struct reel_stream *s, reel_tensor dq, reel_tensor dk, reel_tensor dv, reel_tensor dout, reel_tensor o,
                  reel_tensor lse, reel_tensor q, reel_tensor k, reel_tensor v, reel_tensor sel, reel_tensor dqc,
                  reel_tensor dkc, reel_tensor dvc, struct reel_tile_index index, int heads);

/* y = x + gate*u, gate = row gate_row of mod [nmod,R,D] (mod nd 0: gate 1). y may alias x. */
void reel_gate_fwd(struct reel_stream *s, reel_tensor y, reel_tensor x, reel_tensor u, reel_tensor mod,
                   int gate_row, struct reel_rows r);
/* du = gate*dy; dmod row gate_row += sum dy*u. (dx is dy itself.) */
void reel_gate_bwd(struct reel_stream *s, reel_tensor du, reel_tensor dmod, reel_tensor dy, reel_tensor u,
                   reel_tensor mod, int gate_row, struct reel_rows r);

/* e[nmod,R,D] = table[R,D] + t[nmod, R*D or D broadcast over R]; all f32 */
void reel_mod_fwd(struct reel_stream *s, reel_tensor e, reel_tensor table, reel_tensor t);
/* dtable[R,D] (= or +=; nd 0: none) sum over nmod of de, tree order; dt += de (summed over R if dt is [nmod,D]).
 * de [nmod,R,D], or [B,F,R,D]: then the tree goes over the F frames of a sample first, so that
 * ranks holding whole samples hold subtrees (dt [B*F,...] or [B,F,...]). */
void reel_mod_bwd(struct reel_stream *s, reel_tensor dtable, int pacc, reel_tensor dt, reel_tensor de);

void reel_silu_fwd(struct reel_stream *s, reel_tensor y, reel_tensor x);
void reel_silu_bwd(struct reel_stream *s, reel_tensor dx, reel_tensor dy, reel_tensor x); /* = */
void reel_gelu_fwd(struct reel_stream *s, reel_tensor y, reel_tensor x);
void reel_gelu_bwd(struct reel_stream *s, reel_tensor dx, reel_tensor dy, reel_tensor pre); /* may alias */
void reel_geglu_fwd(struct reel_stream *s, reel_tensor y, reel_tensor x, reel_tensor z); /* y = gelu_tanh(x) z; may alias */
/* y[n,D] = rows id[n] (i32) of table[V,D] */
void reel_embed(struct reel_stream *s, reel_tensor y, reel_tensor table, reel_tensor id);
/* emb[n,freq] f32 = cos half, sin half of fl32(t[n]*w_j) */
void reel_sinusoid(struct reel_stream *s, reel_tensor emb, reel_tensor t);

/* tok[B,S,C*ph*pw] dt from x[B,T,C,H,W] f32, feature order (c,ph,pw); patch (1,ph,pw) */
void reel_patch(struct reel_stream *s, reel_tensor tok, reel_tensor x, int ph, int pw);
void reel_patch_bwd(struct reel_stream *s, reel_tensor dx, reel_tensor dtok, int ph, int pw);
/* x[B,T,C,H,W] f32 from y[B,S,ph*pw*C] dt, feature order (ph,pw,c) */
void reel_unpatch(struct reel_stream *s, reel_tensor x, reel_tensor y, int ph, int pw);
void reel_unpatch_bwd(struct reel_stream *s, reel_tensor dy, reel_tensor dx, int ph, int pw);

/* y[B,n2,n1,...] = x[B,n1,n2,...] f32: [B,C,T,H,W] <-> [B,T,C,H,W] */
void reel_swap_tc(struct reel_stream *s, reel_tensor y, reel_tensor x);
#define REEL_RANDN_MOST ((int64_t)4 << 32) /* elements of a sample that a counter tells apart */
/* out[nb, ...] f32: normals of the named draw: sample b0+i, elements row-major */
void reel_randn(struct reel_stream *s, reel_tensor out, uint64_t key, uint32_t step, uint32_t round, uint32_t b0);
/* out[nb,n,C,H,W] f32: frames lo.. of the named draw [C,T,H,W] of samples b0.. */
void reel_randn_frames(struct reel_stream *s, reel_tensor out, int64_t lo, int64_t T, uint64_t key, uint32_t step, uint32_t round, uint32_t b0);
/* y = (x - mean_c) * istd_c on [B,T,C,H,W] f32; mean, istd [C] f32 */
void reel_normalize(struct reel_stream *s, reel_tensor y, reel_tensor x, reel_tensor mean, reel_tensor istd);
/* xt = (1-sigma) x0 + sigma eps; sigma f32 [B] or [B,T]; each operation rounded */
void reel_noise_mix(struct reel_stream *s, reel_tensor xt, reel_tensor x0, reel_tensor eps, reel_tensor sigma);
/* r = v - (eps - x0); sum[B,T] f64 = sum of r^2 per frame; dv = cot * 2 r (f32).
 * precond: r = (xt - v sigma) - x0 and dv = -cot * 2 r sigma. w [B,T] f32 per-frame weight or nd 0
 * (dv carries it, sum does not). */
void reel_flow_loss(struct reel_stream *s, reel_tensor dv, reel_tensor sum, reel_tensor v, reel_tensor x0,
                    reel_tensor eps, reel_tensor xt, reel_tensor sigma, reel_tensor w, double cot, int precond);

/* Few-step distillation. sigma, next f32 [B] or [B,T] for x [B,T,...]; everything f32 but the sums. */
/* x0 = x - sigma v, in f64 and rounded once */
void reel_x0_fwd(struct reel_stream *s, reel_tensor x0, reel_tensor x, reel_tensor v, reel_tensor sigma);
/* dv = -sigma scale dx0: the cotangent of v, dx0 that of x0 up to the factor scale. dv may alias dx0. */
void reel_x0_bwd(struct reel_stream *s, reel_tensor dv, reel_tensor dx0, reel_tensor sigma, double scale);
/* y = (1-next) x0 + next eps with eps = (z - (1-sigma) x0)/max(sigma, 1e-8), the noise that z and x0
 * imply; in f64 and rounded once. y may alias z or x0. */
void reel_ode_step(struct reel_stream *s, reel_tensor y, reel_tensor z, reel_tensor x0, reel_tensor sigma,
                   reel_tensor next);
/* real = uncond + scale (cond - uncond); sum[B,T] f64 = sum |x - real| per frame. real may alias cond. */
void reel_guide(struct reel_stream *s, reel_tensor real, reel_tensor sum, reel_tensor x, reel_tensor cond,
                reel_tensor uncond, double scale);
/* g = (fake - real)/m, m [B]; sum[B,T] f64 = sum g^2 per frame. to_num: NaN becomes 0 and an infinity
 * the largest finite number. g may alias fake or real. */
void reel_dmd_grad(struct reel_stream *s, reel_tensor g, reel_tensor sum, reel_tensor fake, reel_tensor real,
                   reel_tensor m, int to_num);

/* p, m, v, g f32 same count; PyTorch's AdamW */
void reel_adamw(struct reel_stream *s, reel_tensor p, reel_tensor m, reel_tensor v, reel_tensor g,
                struct reel_adamw h);

void reel_fill(struct reel_stream *s, reel_tensor y, double value);
void reel_cast(struct reel_stream *s, reel_tensor dst, reel_tensor src);            /* f32 <-> bf16, f16 -> f32 */
void reel_add(struct reel_stream *s, reel_tensor y, reel_tensor x);                  /* y += x */
/* dst[rows, dst_col..+width) = src[rows, src_col..+width): rows are all dimensions but the last; one dtype; apart */
void reel_copy_2d(struct reel_stream *s, reel_tensor dst, int64_t dst_col, reel_tensor src, int64_t src_col, int64_t width);
void reel_scale(struct reel_stream *s, reel_tensor y, double a);                     /* y *= a */
void reel_axpby(struct reel_stream *s, reel_tensor y, double a, reel_tensor x, double b); /* y = a x + b y, f32 */
void reel_lerp_to(struct reel_stream *s, reel_tensor y, reel_tensor x, double w);    /* y += w (x - y), f32 */
/* out[n] (= or +=) tree sum over the first dimension of in[P,n], f32: ((0+1)+(2+3))+... holes skipped */
void reel_tree_sum(struct reel_stream *s, reel_tensor out, reel_tensor in, int acc);

/* Exact sum of squares of x[rows, ...] (f32, bf16): each row summed in f64 in a fixed order, rows added into the
 * order-independent accumulator out (i64 [REEL_EXACT_LIMBS]; base/exact.h). Counts non-finite rows. */
void reel_sumsq(struct reel_stream *s, reel_tensor out, reel_tensor x);

#endif
