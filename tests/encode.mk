check_PROGRAMS += tests/t_encode tests/t_encode_np2
tests_t_encode_SOURCES = tests/t_encode.c
tests_t_encode_np2_SOURCES = tests/t_encode.c
