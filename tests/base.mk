check_PROGRAMS += tests/t_base
tests_t_base_SOURCES = tests/t_base.c
