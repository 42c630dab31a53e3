#ifndef REEL_MEDIA_LETTERS_H
#define REEL_MEDIA_LETTERS_H

/* Words on contact sheets: 5 x 7 pixels a letter, printable ASCII. All Local. */

#include <stdint.h>

#define REEL_LETTER_WIDTH  6 /* pixels from one letter to the next, ... */
#define REEL_LETTER_HEIGHT 9 /* ... from one line to the next */

/** reel_letters_lines - lines of at most `cols` letters that a text takes, broken between words where that is possible. */
int reel_letters_lines(const char *text, int cols);

/**
 * reel_letters_draw - a text in white on a picture, every pixel of a letter scale x scale large. A character that is not
 * ASCII is a box; what does not fit into the lines ends in dots.
 * @rgb  inout [..,width,3] u8: room for lines * 9 * scale rows from `top`, cols * 6 * scale pixels from `left`
 */
void reel_letters_draw(uint8_t *rgb, int width, int top, int left, int scale, const char *text, int cols, int lines);

#endif
