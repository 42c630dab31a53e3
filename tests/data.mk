EXTRA_DIST += tests/data_util.h tests/golden/data tests/golden/draws
check_PROGRAMS += tests/t_set tests/t_set_np2 tests/t_set_np4
tests_t_set_SOURCES = tests/t_set.c
tests_t_set_np2_SOURCES = tests/t_set.c
tests_t_set_np4_SOURCES = tests/t_set.c
