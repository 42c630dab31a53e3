check_PROGRAMS += tests/t_safetensors tests/t_dcp tests/t_hf tests/t_hf_np2
tests_t_safetensors_SOURCES = tests/t_safetensors.c
tests_t_dcp_SOURCES = tests/t_dcp.c
tests_t_hf_SOURCES = tests/t_hf.c
tests_t_hf_np2_SOURCES = tests/t_hf.c
EXTRA_DIST += tests/golden/dcp tests/golden/hf-layout
