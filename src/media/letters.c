#include "media/letters.h"

#include <string.h>

/* From ' ' to '~', then the box: bit 5 y + x is the pixel in row y, column x. */
static const uint64_t glyphs[] = {
    0x000000000, 0x100421084, 0x00000014a, 0x295f57d4a, 0x11f4717c4, 0x672222273, 0x593511526,
    0x000000084, 0x208210888, 0x088842082, 0x009575480, 0x0084f9080, 0x088400000, 0x0000f8000,
    0x18c000000, 0x042222210, 0x3a33ae62e, 0x3884210c4, 0x7c226422e, 0x3a306422e, 0x211f4a988,
    0x3a3083c3f, 0x3a317844c, 0x08422221f, 0x3a317462e, 0x1910f462e, 0x00c6018c0, 0x0886018c0,
    0x208208888, 0x001f07c00, 0x088882082, 0x10044422e, 0x383daf62e, 0x4631fc62e, 0x3e317c62f,
    0x3a210862e, 0x3e318c62f, 0x7c217843f, 0x04217843f, 0x7a31e862e, 0x4631fc631, 0x38842108e,
    0x19284211c, 0x452519531, 0x7c2108421, 0x4631ad771, 0x4631cd671, 0x3a318c62e, 0x04217c62f,
    0x59358c62e, 0x45257c62f, 0x3e107043e, 0x10842109f, 0x3a318c631, 0x11518c631, 0x4775ac631,
    0x462a22a31, 0x108422a31, 0x7c222221f, 0x38421084e, 0x420820821, 0x39084210e, 0x000004544,
    0x7c0000000, 0x000000082, 0x7a3e83800, 0x3e318bc21, 0x3a210b800, 0x7a318fa10, 0x383f8b800,
    0x084213c4c, 0x3a1e8c7c0, 0x46318bc21, 0x388421804, 0x192843008, 0x24a32a421, 0x388421086,
    0x56b5aac00, 0x46318bc00, 0x3a318b800, 0x042f8c5e0, 0x421e8c7c0, 0x04219b400, 0x3e0e0f800,
    0x324213c42, 0x7a318c400, 0x11518c400, 0x2ab5ac400, 0x454454400, 0x3a30f4620, 0x7c4447c00,
    0x208411088, 0x108421084, 0x088441082, 0x0009ac800, 0x7e318c63f,
};
enum { FIRST = ' ', BOX = '~' + 1, ROWS = 7, COLUMNS = 5 };

/* Bytes of the character at s: what goes on an UTF-8 sequence belongs to it. */
static int character(const char *s)
{
    int n = 1;

    while (((unsigned char)s[n] & 0xc0) == 0x80) n++;
    return n;
}

static void glyph(uint8_t *rgb, int width, int top, int left, int scale, const char *s)
{
    uint64_t bits = glyphs[(*s >= FIRST && *s < BOX ? *s : *s == '\t' || *s == '\n' ? ' ' : BOX) - FIRST];

    for (int y = 0; y < ROWS * scale; y++)
        for (int x = 0; x < COLUMNS * scale; x++)
            if (bits >> (y / scale * COLUMNS + x / scale) & 1)
                memset(rgb + ((size_t)(top + y) * (size_t)width + (size_t)(left + x)) * 3, 255, 3);
}

/* The next line of the text: its bytes, without the blank that it was broken at; *s goes on behind that. */
static int line(const char **s, int cols)
{
    const char *from = *s, *at = from, *blank = NULL;
    int n = 0;

    for (; *at && n < cols; at += character(at), n++)
        if (*at == ' ' && at > from) blank = at;
    if (*at && *at != ' ' && blank) at = blank;
    *s = *at == ' ' ? at + 1 : at;
    return (int)(at - from);
}

int reel_letters_lines(const char *text, int cols)
{
    int n = 0;

    for (; *text; n++) line(&text, cols);
    return n;
}

void reel_letters_draw(uint8_t *rgb, int width, int top, int left, int scale, const char *text, int cols, int lines)
{
    for (int y = 0; *text && y < lines; y++) {
        const char *s = text, *end = s + line(&text, cols);
        int more = *text && y == lines - 1, col = 0;
        for (; s < end; s += character(s), col++)
            glyph(rgb, width, top + y * REEL_LETTER_HEIGHT * scale, left + col * REEL_LETTER_WIDTH * scale, scale,
                  more && (col >= cols - 3) ? "." : s);
        for (int dots = 0; more && dots < 3 && col < cols; dots++, col++)
            glyph(rgb, width, top + y * REEL_LETTER_HEIGHT * scale, left + col * REEL_LETTER_WIDTH * scale, scale, ".");
    }
}
