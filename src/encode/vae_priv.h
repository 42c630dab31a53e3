#ifndef REEL_ENCODE_VAE_PRIV_H
#define REEL_ENCODE_VAE_PRIV_H

/* Inside of Wan's VAE. Pictures are [T,H,W,C], channels fastest. A film goes by in chunks: the first frame alone, then as many as a
 * latent frame has; what a convolution must remember of the frames before is kept in caches.
 * Source: diffusers autoencoder_kl_wan.py @58eb52c0. */

#include "base/json.h"
#include "be/ops.h"
#include "encode/vae.h"

#define VAE_LEVELS 4  /* 8 x 8 pixels a latent */
#define VAE_STEPS  96 /* of one direction */
#define VAE_CACHES 160
#define VAE_GROUP  4  /* pictures of a latent frame but the first */
#define VAE_MOST   4096 /* channels */

struct vae_config {
    int base, z, blocks, mult[VAE_LEVELS], time[VAE_LEVELS - 1]; /* time: halved there in time too */
    float mean[VAE_MOST], std[VAE_MOST];
};

/* n 0: there is none. w [n,kt,kh,kw,c] of the codec's dtype, b [n] f32. */
struct vae_conv {
    char name[80];
    int n, c, kt, kh, kw;
    int cache; /* which one is its memory, if kt > 1 */
    reel_tensor w, b;
};
struct vae_norm { char name[80]; int d; reel_tensor w; };

enum vae_kind {
    VAE_CONV, /* conv 0 */
    VAE_RES,  /* x (through conv 2, if there) + conv 1(silu norm 1(conv 0(silu norm 0(x)))) */
    VAE_ATTN, /* x + conv 1(attention of conv 0(norm 0(x))) */
    VAE_DOWN, /* conv 0 to half the size, then conv 1, if there, to half as many frames */
    VAE_UP,   /* conv 1, if there, to twice as many frames, then conv 0 to twice the size */
    VAE_HEAD, /* conv 0(silu norm 0(x)) */
};
struct vae_step {
    enum vae_kind kind;
    char name[64];
    struct vae_norm norm[2];
    struct vae_conv conv[3];
};
struct vae_net { struct vae_step step[VAE_STEPS]; int n, caches; };

/* What one tile of a film remembers. */
struct vae_tile {
    int y, x, h, w; /* in the picture that goes in */
    struct { reel_tensor t; int seen; } cache[VAE_CACHES];
};

enum vae_way { VAE_ENCODE, VAE_DECODE };

/* A film in one direction: memory of its size, and how far it is. */
struct vae_film {
    enum vae_way way;
    int h, w, rows, cols; /* of the pictures that go in; tiles */
    int chunk;            /* done so far */
    struct reel_stream s;
    struct reel_arena scratch, caches, work;
    size_t need[3];       /* bytes of the three buffers that activations take turns in */
    struct vae_tile *tile;
    float *in, *out, *cut, **part; /* host: a chunk in and out; a tile of it in, all tiles out (NULL: one tile) */
    size_t host;          /* bytes of those */
    void (*look)(void *ctx, const char *step, reel_tensor x, struct reel_stream *s); /* tests: what every step made; NULL */
    void *look_ctx;
};

struct reel_vae {
    struct vae_config cfg;
    struct vae_net net[2]; /* by enum vae_way */
    struct vae_film film[2];
    struct reel_stream s;
    const struct reel_comm *comm; /* whose ranks may wait for this one */
    struct reel_arena weights;
    size_t weight_bytes;
    reel_dtype dt;
    int tile;              /* side in latent pixels, 0: whole pictures */
    struct reel_family family;
    char id[40];
};

/* config.json: what its keys say, or why this is no VAE of this kind. REEL_ECONFIG, REEL_EDATA. */
reel_err vae_config_read(struct vae_config *c, const char *path);
/* Both networks' steps, names and shapes, without weights. */
void vae_build(struct vae_net *enc, struct vae_net *dec, const struct vae_config *c);
/* Where weights would lie: their bytes alone. */
reel_err vae_plan(struct reel_vae *v);
/* All weights of folder `dir`, and the id. REEL_EIO, REEL_EDATA, REEL_ENOMEM. */
reel_err vae_load(struct reel_vae *v, const char *dir);
/* One chunk of a tile: x [t,h,w,c] f32 of the host (NULL while planning) to out, f32 of the host; frames that come out. */
int vae_run(const struct reel_vae *v, struct vae_film *f, struct vae_tile *tile, const float *x, int t, float *out);

/* A film of pictures h x w; its memory is planned and taken, if it is not there already. REEL_ENOMEM. */
reel_err vae_film_begin(struct reel_vae *v, enum vae_way way, int h, int w);
/* The next chunk, in f->in, to f->out; frames that come out. */
int vae_film_chunk(const struct reel_vae *v, struct vae_film *f, int t);
void vae_film_end(const struct reel_vae *v, struct vae_film *f);
/* Where buffer i of the three begins in f->work; i 3: where they end. */
size_t vae_buffer_at(const struct vae_film *f, int i);
static inline size_t vae_aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }
/* Bytes that a film of that size takes. */
size_t vae_film_bytes(const struct reel_vae *v, enum vae_way way, int h, int w);
/* Channels that go in and come out. */
int vae_in(const struct reel_vae *v, enum vae_way way);
int vae_out(const struct reel_vae *v, enum vae_way way);

#endif
