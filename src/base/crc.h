#ifndef REEL_BASE_CRC_H
#define REEL_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32 (zip, polynomial 0x04C11DB7) and CRC-32C (Castagnoli, 0x1EDC6F41), both bit-reflected,
 * start 0, continued by passing the former result: crc(crc(0, a), b) == crc(0, ab). Carry-less
 * multiplication where the processor has it, tables otherwise. Local. */
uint32_t reel_crc32(uint32_t crc, const void *data, size_t bytes);
uint32_t reel_crc32c(uint32_t crc, const void *data, size_t bytes);

/* CRC-32 of what has CRC a, followed by `bytes` bytes that have CRC b: crc(0, xy) without reading x or y again. Local. */
uint32_t reel_crc32_join(uint32_t a, uint32_t b, uint64_t bytes);

/* The table path alone, for tests. */
uint32_t reel_crc32_table(uint32_t crc, const void *data, size_t bytes);
uint32_t reel_crc32c_table(uint32_t crc, const void *data, size_t bytes);

#endif
