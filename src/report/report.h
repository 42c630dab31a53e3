#ifndef REEL_REPORT_REPORT_H
#define REEL_REPORT_REPORT_H

/* What a run has to say for itself, from the metrics.jsonl that it wrote or is still writing. */

#include <stdio.h>

#include "base/err.h"

/**
 * reel_report - a summary on `text`, and one HTML page with plots that needs no other file. Local.
 * @run   output folder of a run, its tracker folder, or a metrics.jsonl
 * @html  where the page goes; NULL: report.html beside what `run` names
 * Errors: REEL_EDATA not a run, or a file without one record; REEL_EIO, REEL_ENOMEM.
 */
reel_err reel_report(const char *run, const char *html, FILE *text);

#endif
