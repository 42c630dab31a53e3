/* Which encoders go with a model. */
#include <limits.h>

#include "base/file.h"
#include "encode/encode.h"
#include "media/dct.h"
#include "media/text.h"

static int has(const char *dir, const char *component)
{
    char path[PATH_MAX];
    int there = reel_join(path, sizeof path, dir, component) == REEL_OK && reel_is_dir(path);

    if (!there) reel_err_clear();
    return there;
}

reel_err reel_encode_folder(struct reel_encode_opts *o, int channels, int text_dim)
{
    struct reel_hf_source src = { .init_from = o->model, .env = o->hf };
    const char *from = o->model;
    char dir[PATH_MAX];
    int found = !reel_encode_builtin(o) && reel_hf_resolve(&src, dir, sizeof dir) == REEL_OK, vae, text;

    if (!found) reel_err_clear();
    vae = found && has(dir, "vae");
    text = found && has(dir, "text_encoder");
    if (vae && text) return REEL_OK;
    o->model = NULL;
    if (channels == REEL_DCT_CHANNELS && text_dim == REEL_TEXT_DIM) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "%s %s%s%s, and the model (%d latent channels, text of %d columns) does not fit the built-in encoders "
                     "(%d, %d): put Wan's folders beside transformer/, or name a repository that has them", found ? dir : from ? from : "no folder",
                     found ? "has no " : "is not at hand", !found ? "" : vae ? "" : text ? "vae/" : "vae/ and no ", !found || text ? "" : "text_encoder/",
                     channels, text_dim, REEL_DCT_CHANNELS, REEL_TEXT_DIM);
}
