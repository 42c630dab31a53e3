check_PROGRAMS += tests/t_safetensors tests/t_dcp
tests_t_safetensors_SOURCES = tests/t_safetensors.c
tests_t_dcp_SOURCES = tests/t_dcp.c
EXTRA_DIST += tests/golden/dcp tests/golden/hf-layout
