check_PROGRAMS += tests/t_safetensors tests/t_pickle tests/t_dcp tests/t_dcp_fuzz tests/t_hf tests/t_hf_np2 tests/t_ckpt tests/t_ckpt_np2 tests/t_ckpt_np4 \
  tests/t_tree tests/t_tree_np3 tests/t_tree_np4 tests/t_io tests/t_io_np3
tests_t_safetensors_SOURCES = tests/t_safetensors.c
tests_t_pickle_SOURCES = tests/t_pickle.c
tests_t_dcp_SOURCES = tests/t_dcp.c
tests_t_dcp_fuzz_SOURCES = tests/t_dcp_fuzz.c
tests_t_hf_SOURCES = tests/t_hf.c
tests_t_hf_np2_SOURCES = tests/t_hf.c
tests_t_ckpt_SOURCES = tests/t_ckpt.c
tests_t_ckpt_np2_SOURCES = tests/t_ckpt.c
tests_t_ckpt_np4_SOURCES = tests/t_ckpt.c
tests_t_tree_SOURCES = tests/t_tree.c
tests_t_tree_np3_SOURCES = tests/t_tree.c
tests_t_tree_np4_SOURCES = tests/t_tree.c
tests_t_io_SOURCES = tests/t_io.c
tests_t_io_np3_SOURCES = tests/t_io.c
dist_check_SCRIPTS += tests/t_import.sh tests/t_dcp_fastvideo.sh tests/t_dcp_torch.sh tests/t_ckpt_fail.sh
EXTRA_DIST += tests/dcp_read.h tests/oracle/dcp_torch.py tests/oracle/diffusers_load.py tests/oracle/dcp_fastvideo.py tests/oracle/lora_peft.py tests/role_rig.h tests/golden/dcp tests/golden/hf-layout
# torture: interpose.so is preloaded
noinst_PROGRAMS += tests/torture tests/interpose.so
tests_torture_SOURCES = tests/torture.c
tests_interpose_so_SOURCES = tests/interpose.c
tests_interpose_so_CFLAGS = $(PRELOAD_CFLAGS)
tests_interpose_so_LDFLAGS = -shared
tests_interpose_so_LDADD =
dist_check_SCRIPTS += tests/t_torture.sh tests/t_write_faults.sh
check-torture: all
	@REEL_TORTURE=full TEST_TIMEOUT=7200 $(MAKE) -s check TESTS='tests/t_torture.sh tests/t_write_faults.sh'
.PHONY: check-torture
