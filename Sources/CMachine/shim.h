// What Swift has no name for: memory that can grow in place, and an instruction of the processor.

#ifndef MERIDIAN_CMACHINE_SHIM_H
#define MERIDIAN_CMACHINE_SHIM_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/// Memory of so many bytes; NULL where there is none.
static inline void *_Nullable meridian_memory(size_t count) { return malloc(count); }

/// The same, all zero; much of it takes no memory until it is written to.
static inline void *_Nullable meridian_memory_of_zeros(size_t count) { return calloc(count, 1); }

/// The same memory, of another size. What is very large is moved by the kernel, page by page, without being copied.
static inline void *_Nullable meridian_memory_resized(void *_Nonnull memory, size_t count) { return realloc(memory, count); }

/// The memory is not needed any more.
static inline void meridian_memory_free(void *_Nonnull memory) { free(memory); }

#if defined(__x86_64__)

#include <cpuid.h>
#include <string.h>

/// 1 where the processor has the instruction that `meridian_crc32c` consists of.
static inline int meridian_has_crc32c(void) {
    unsigned int a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_2) ? 1 : 0;
}

/// Goes on with the register of a CRC-32C over so many bytes.
__attribute__((target("sse4.2"))) static inline uint32_t meridian_crc32c(
    uint32_t crc, const void *_Nullable bytes, size_t count) {
    const unsigned char *at = (const unsigned char *)bytes;
    uint64_t wide = crc;
    for (; count >= 8; count -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; count > 0; count--) crc = __builtin_ia32_crc32qi(crc, *at++);
    return crc;
}

#else

static inline int meridian_has_crc32c(void) { return 0; }
static inline uint32_t meridian_crc32c(uint32_t crc, const void *_Nullable bytes, size_t count) {
    (void)bytes, (void)count;
    return crc;
}

#endif

#endif
