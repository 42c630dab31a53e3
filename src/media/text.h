#ifndef REEL_MEDIA_TEXT_H
#define REEL_MEDIA_TEXT_H

/* The built-in text encoder: a row per word, hashed word plus hashed place. No weights. */

#define REEL_TEXT_ROWS 12
#define REEL_TEXT_DIM  64
#define REEL_TEXT_ID        "reel-words" /* text_encoder_id of sets */
#define REEL_TEXT_TOKENIZER "a-z0-9"     /* tokenizer_id */

/**
 * reel_text_vectors - words are maximal runs of [a-z0-9] of the lower-cased caption, at most 12. Local.
 * @out  out [rows, 64] f32: sqrt(0.5)*(W(word) + P(i)), normals in f64; room for 12 rows
 * Returns the rows; 0 for a caption without a word (the empty and the negative prompt).
 */
int reel_text_vectors(const char *caption, float *out);

#endif
