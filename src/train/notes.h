#ifndef REEL_TRAIN_NOTES_H
#define REEL_TRAIN_NOTES_H

/* What a run writes of itself into metrics.jsonl beside the numbers of its steps, for `reel report`. The notes and their
 * fields: src/train/README.md. Rank 0 writes; what goes wrong is the next record's error (reel_track_note). */

#include "train/run.h"

/** reel_note_start - who starts what, and the configuration, given as JSON; then what its reader warned of. Local. */
void reel_note_start(struct reel_run *r, const char *config);
/** reel_note_assumed - a role whose config.json, `where`, leaves out sizes: said at once; reel_note_start notes it. Rank 0 speaks. Local. */
void reel_note_assumed(const struct reel_run *r, const struct reel_model *m, const char *where);
/** reel_note_plan - the memory that was taken and the device, arena by arena. Local. */
void reel_note_plan(struct reel_run *r);
/** reel_note_ranks - who runs where; host: of every rank of the world. Local. */
void reel_note_ranks(struct reel_run *r, const struct reel_host *host);
/** reel_note_warning - something that a user should know when he asks why, on the terminal too. Rank 0 speaks. Local. */
void reel_note_warning(struct reel_run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** reel_note_pause - if processes were stopped since the note before (r->spread): the word that their times leave out what a clock on
 * the wall shows. On the terminal too. Rank 0. */
void reel_note_pause(struct reel_run *r);
/** reel_note_end - how the run ended, and the seconds of the phases over its ranks; REEL_OK: done, or r->stopped. Local. */
void reel_note_end(struct reel_run *r, reel_err e);

/** reel_json_text - a text as a JSON string; bytes that are no UTF-8 become '?'. Local. */
json_t *reel_json_text(const char *s);

#endif
