#ifndef REEL_BASE_FILE_H
#define REEL_BASE_FILE_H

/* Files with messages: every failure names the path, what was tried and the system's reason. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/** reel_file_read - the whole file, malloc'ed, one NUL behind the last byte. Local. REEL_EIO, REEL_ENOMEM. */
reel_err reel_file_read(const char *path, char **data, size_t *bytes);

/** reel_file_write - write `path`.tmp, sync it, reel_rename: readers see the old file or the whole new one, also after the power
 * was cut. Local. REEL_EIO; the temporary file is removed. */
reel_err reel_file_write(const char *path, const void *data, size_t bytes);

/** reel_rename - `from` gets the name `to` in the same folder, for good: the folder is synced. Local. REEL_EIO. */
reel_err reel_rename(const char *from, const char *to);

/** reel_publish - the same for a file that a library wrote to `tmp`, whose data are synced first. Local. REEL_EIO; tmp may be left. */
reel_err reel_publish(const char *tmp, const char *path);

/** reel_file_probe - whether `path`.tmp can be made, for files that a long computation writes at its end.
 * Local. REEL_EIO; nothing is left. */
reel_err reel_file_probe(const char *path);

/** reel_file_lock - make `path` and hold it until *fd is closed or the process ends, however it ends; its text says who holds
 * it. A file system without locks lets everyone pass. Local.
 * @patience_s  how long to wait for another process to let go; the wait is said
 * REEL_EIO; REEL_ECONFIG: another process holds it, which is named. */
reel_err reel_file_lock(const char *path, double patience_s, int *fd);

/** reel_pread - exactly `bytes` from `at`; a short file is an error that names both numbers. Local. REEL_EIO. */
reel_err reel_pread(int fd, void *dst, size_t bytes, uint64_t at, const char *path);

/** reel_write - all of it, or REEL_EIO. Local. */
reel_err reel_write(int fd, const void *src, size_t bytes, const char *path);

struct stat;

/** reel_stat - *there 1 and *st if there is such a file or folder, following links; *there 0 if there is none. Local. REEL_EIO: the
 * file system does not say, which is not the same. */
reel_err reel_stat(const char *path, struct stat *st, int *there);

/** reel_mkdirs - the folder and its parents; one that exists is fine, a new one is there for good. Local. REEL_EIO. */
reel_err reel_mkdirs(const char *path);

/** reel_rmtree - remove a folder and all below it; links are removed, not followed. Local. REEL_EIO. */
reel_err reel_rmtree(const char *path);

/** reel_fsync_dir - make names created in `path` durable. Local. REEL_EIO. */
reel_err reel_fsync_dir(const char *path);

/** reel_list_dir - names in a folder without "." and "..", sorted, malloc'ed. Local. REEL_EIO, REEL_ENOMEM. */
reel_err reel_list_dir(const char *path, char ***names, size_t *n);
void reel_list_free(char **names, size_t n);

int reel_ends(const char *s, const char *end); /* 1 if s ends so. Local. */
int reel_is_dir(const char *path);  /* 1 if it is, following links. Local. */
int reel_is_file(const char *path); /* 1 if it is a regular file, following links. Local. */

/** reel_parent - the folder that a path without slashes at its end, which fits into PATH_MAX, is in. Local. @dir  out, PATH_MAX bytes */
void reel_parent(char *dir, const char *path);

/** reel_join - "a/b" into dst [size]. Local. REEL_EIO when it does not fit. */
reel_err reel_join(char *dst, size_t size, const char *a, const char *b);

#endif
