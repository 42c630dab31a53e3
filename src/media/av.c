#include "media/av.h"

#include <libavutil/error.h>

reel_err reel_av_fail(reel_err kind, const char *path, const char *what, int code)
{
    char why[AV_ERROR_MAX_STRING_SIZE] = "";

    av_strerror(code, why, sizeof why);
    return REEL_FAIL(kind, "%s: %s: %s", path, what, why);
}
