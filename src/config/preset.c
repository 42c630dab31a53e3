/* What a model repository's name says about its pipeline. Values: the reference's registry. */
#include <ctype.h>
#include <string.h>

#include "config/config_priv.h"

/* Wan's own, in English; FastVideo configs/sample/wan.py @2f3d4074 */
#define NEGATIVE \
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall gray, worst quality, " \
    "low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands, poorly drawn faces, deformed, disfigured, " \
    "misshapen limbs, fused fingers, still picture, messy background, three legs, many people in the background, walking backwards"

const struct reel_preset reel_presets[] = {
    { "wan-t2v-480p", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", 3.0, NULL, 0, 3.0, 16, NEGATIVE, "wan-1.3b" },
    { "wan-t2v-720p", "Wan-AI/Wan2.1-T2V-14B-Diffusers", 5.0, NULL, 0, 5.0, 16, NEGATIVE, "wan-14b" },
    { "fastwan-t2v-480p", "FastVideo/FastWan2.1-T2V-1.3B-Diffusers", 8.0, "[1000, 757, 522]", 0, 3.0, 16, NEGATIVE, "wan-1.3b" },
    { "self-forcing-wan-t2v", "wlsaidhi/SFWan2.1-T2V-1.3B-Diffusers", 5.0, "[1000, 750, 500, 250]", 1, 6.0, 16, NEGATIVE, "wan-1.3b" },
    { .name = NULL },
};

static size_t trimmed(const char *s)
{
    size_t n = strlen(s);

    while (n > 1 && s[n - 1] == '/') n--;
    return n;
}

/* last path component, compared without case */
static int same_tail(const char *a, const char *b)
{
    size_t na = trimmed(a), nb = trimmed(b);

    while (na && nb && a[na - 1] != '/' && b[nb - 1] != '/')
        if (tolower((unsigned char)a[--na]) != tolower((unsigned char)b[--nb])) return 0;
    return (!na || a[na - 1] == '/') && (!nb || b[nb - 1] == '/');
}

const struct reel_preset *reel_preset_find(const char *init_from)
{
    char id[128];

    for (const struct reel_preset *p = reel_presets; p->name && init_from; p++)
        for (const char *s = p->ids; reel_next_choice(&s, id, sizeof id);)
            if (same_tail(init_from, id)) return p;
    return &reel_presets[0];
}

const char *reel_preset_arch(const char *init_from)
{
    size_t n = init_from ? strcspn(init_from, "@") : 0;
    char id[128];

    for (const struct reel_preset *p = reel_presets; p->name; p++)
        for (const char *s = p->ids; reel_next_choice(&s, id, sizeof id);)
            if (strlen(id) == n && !strncmp(id, init_from, n)) return p->arch;
    return NULL;
}
