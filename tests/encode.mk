check_PROGRAMS += tests/t_encode tests/t_encode_np2
tests_t_encode_SOURCES = tests/t_encode.c
tests_t_encode_np2_SOURCES = tests/t_encode.c

# words
EXTRA_DIST += tests/golden/umt5
check_PROGRAMS += tests/t_tokenizer
tests_t_tokenizer_SOURCES = tests/t_tokenizer.c tests/golden_umt5.c tests/golden.h tests/golden_util.c
check_PROGRAMS += tests/t_umt5 tests/t_umt5_np2 tests/t_umt5_np3
tests_t_umt5_SOURCES = tests/t_umt5.c tests/golden_umt5.c tests/golden.h tests/golden_util.c
tests_t_umt5_np2_SOURCES = $(tests_t_umt5_SOURCES)
tests_t_umt5_np3_SOURCES = $(tests_t_umt5_SOURCES)
check_PROGRAMS += tests/t_umt5_mem tests/t_umt5_mem_np2
tests_t_umt5_mem_SOURCES = tests/t_umt5_mem.c tests/golden_umt5.c tests/golden.h tests/golden_util.c
tests_t_umt5_mem_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free,--wrap=posix_memalign
tests_t_umt5_mem_np2_SOURCES = $(tests_t_umt5_mem_SOURCES)
tests_t_umt5_mem_np2_LDFLAGS = $(tests_t_umt5_mem_LDFLAGS)

# pictures
check_PROGRAMS += tests/t_vae
tests_t_vae_SOURCES = tests/t_vae.c
EXTRA_DIST += tests/oracle/vae_tiles.py
