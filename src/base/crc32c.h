#ifndef REEL_BASE_CRC32C_H
#define REEL_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/**
 * reel_crc32c - CRC-32C (Castagnoli, reflected 0x82f63b78) of `bytes` bytes, continuing from `crc`
 * (0 to start): crc(ab) = crc32c(crc32c(0, a), b). Local. "123456789" gives e3069283.
 * Uses the processor's instruction where it has one.
 */
uint32_t reel_crc32c(uint32_t crc, const void *p, size_t bytes);

#endif
