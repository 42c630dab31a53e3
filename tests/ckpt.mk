check_PROGRAMS += tests/t_safetensors
tests_t_safetensors_SOURCES = tests/t_safetensors.c
EXTRA_DIST += tests/golden/dcp tests/golden/hf-layout
