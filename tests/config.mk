check_PROGRAMS += tests/t_config_golden
tests_t_config_golden_SOURCES = tests/t_config_golden.c tests/cfg.h
EXTRA_DIST += tests/golden/configs
