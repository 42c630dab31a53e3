#include "track/track_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void track_slug(char *out, size_t size, const char *tag)
{
    size_t i;

    for (i = 0; tag[i] && i + 1 < size; i++) {
        char c = tag[i];

        out[i] = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                         c == '-' || c == '.'
                     ? c
                     : '_';
    }
    out[i] = 0;
}

reel_err track_file_open(struct track_file *f, const char *path)
{
    snprintf(f->path, sizeof f->path, "%s", path);
    f->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (f->fd < 0)
        return REEL_FAIL(REEL_EIO, "%s: cannot open for appending: %s", path, strerror(errno));
    return REEL_OK;
}

reel_err track_file_append(struct track_file *f, const struct track_buf *b)
{
    off_t at = lseek(f->fd, 0, SEEK_END);
    ssize_t n;

    if (b->oom) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for a record", f->path);
    do {
        n = write(f->fd, b->p, b->n);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)b->n) return REEL_OK;
    if (n >= 0) errno = ENOSPC;
    REEL_FAIL(REEL_EIO, "%s: cannot append %zu bytes: %s", f->path, b->n, strerror(errno));
    if (n > 0 && ftruncate(f->fd, at))
        fprintf(stderr, "reel: %s: half a record remains at its end\n", f->path);
    return REEL_EIO;
}

reel_err track_file_close(struct track_file *f)
{
    int fd = f->fd;

    f->fd = -1;
    if (fd >= 0 && close(fd))
        return REEL_FAIL(REEL_EIO, "%s: cannot close: %s", f->path, strerror(errno));
    return REEL_OK;
}
