# the configuration: trees, golden files, wrong files, our own files, the command line
check_PROGRAMS += tests/t_config_golden tests/t_config_yaml tests/t_config_errors tests/t_config_files tests/t_config
tests_t_config_golden_SOURCES = tests/t_config_golden.c tests/cfg.h
tests_t_config_yaml_SOURCES = tests/t_config_yaml.c tests/cfg.h
tests_t_config_errors_SOURCES = tests/t_config_errors.c tests/cfg.h
tests_t_config_files_SOURCES = tests/t_config_files.c tests/cfg.h
tests_t_config_SOURCES = tests/t_config.c tests/cfg.h
EXTRA_DIST += tests/golden/configs configs

# configs/example.yaml again, after a table has changed
example: src/train/mkref$(EXEEXT)
	$(AM_V_GEN)src/train/mkref$(EXEEXT) example > $(top_srcdir)/configs/example.yaml
.PHONY: example
check_PROGRAMS += tests/t_audit
tests_t_audit_SOURCES = tests/t_audit.c
check_PROGRAMS += tests/t_drift_keys
tests_t_drift_keys_SOURCES = tests/t_drift_keys.c
