#include "report/report.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "report/report_priv.h"

/* report.html in the output folder: beside tracker/, or beside a file that was named. */
static reel_err page_path(const char *run, char *path, size_t size)
{
    const char *slash = strrchr(run, '/');

    if (reel_is_dir(run)) return reel_join(path, size, run, "report.html");
    if (snprintf(path, size, "%.*sreport.html", slash ? (int)(slash + 1 - run) : 0, run) >= (int)size)
        return REEL_FAIL(REEL_EIO, "%s: the path is too long", run);
    return REEL_OK;
}

static reel_err write_page(const struct run *r, const char *path)
{
    char *page = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&page, &n);
    reel_err e;

    if (f) print_html(r, f);
    if (!f || fclose(f) != 0) {
        free(page);
        return REEL_FAIL(REEL_ENOMEM, "no memory for %s", path);
    }
    e = reel_file_write(path, page, n);
    free(page);
    return e;
}

static reel_err show(struct run *r, const char *where, const char *html, FILE *text)
{
    char path[4096];

    REEL_TRY(run_read(r, where));
    if (!html) REEL_TRY(page_path(where, path, sizeof path));
    print_text(r, text);
    REEL_TRY(write_page(r, html ? html : path));
    fprintf(text, "%-10s%s\n", "page", html ? html : path);
    return REEL_OK;
}

reel_err reel_report(const char *run, const char *html, FILE *text)
{
    struct run *r = calloc(1, sizeof *r);
    reel_err e;

    if (!r) return REEL_FAIL(REEL_ENOMEM, "no memory for a report");
    e = show(r, run, html, text);
    run_free(r);
    free(r);
    return e;
}
