#ifndef REEL_KERNELS_CPU_TARGET_H
#define REEL_KERNELS_CPU_TARGET_H

/* What gcc and clang write differently. REEL_TARGET(LIST) compiles what follows for an instruction set, to the end of the file or to
 * REEL_TARGET_END, which clang must meet; REEL_SHUFFLE(index, a, b, ...) is lanes of a, counted from 0, and of b after them,
 * with index a vector of as many integers;
 * REEL_APART before a loop says that what it writes is what it reads at the same index or apart from it. */

#define REEL_PRAGMA(text) _Pragma(#text)

#ifdef __clang__
#ifdef __x86_64__
#include <immintrin.h> /* its functions have targets of their own, so they must not be given another */
#endif
#define REEL_TARGET(list) REEL_PRAGMA(clang attribute push(__attribute__((target(list))), apply_to = function))
#define REEL_TARGET_END REEL_PRAGMA(clang attribute pop)
#define REEL_APART REEL_PRAGMA(clang loop vectorize(assume_safety))
#define REEL_SHUFFLE(index, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define REEL_TARGET(list) REEL_PRAGMA(GCC target(list))
#define REEL_TARGET_END
#define REEL_SHUFFLE(index, a, b, ...) __builtin_shuffle(a, b, (index){ __VA_ARGS__ })
#define REEL_APART REEL_PRAGMA(GCC ivdep)
#endif

/* what gcc does to loops beyond -O2 only, and how wide; clang decides both at -O2, and a sanitizer's checks leave nothing to gain */
#if defined(__clang__) || defined(REEL_POISON)
#define REEL_LOOPS
#define REEL_LOOPS_512
#else
#define REEL_LOOPS REEL_PRAGMA(GCC optimize("O3", "no-math-errno", "no-trapping-math"))
#define REEL_LOOPS_512 REEL_LOOPS REEL_PRAGMA(GCC target("prefer-vector-width=512"))
#endif

#endif
