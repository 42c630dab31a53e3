# The build system's own tests.
# Golden folders one by one: in the build, tests/golden is the runner, and would be packed instead.
EXTRA_DIST += tests/golden/adamw tests/golden/layout-dmd2 tests/golden/layout-self-forcing tests/golden/layout-sft \
  tests/golden/schedulers tests/golden/schedules tests/golden/sft \
  tests/golden/lora tests/golden/sft-weighting tests/golden/vsa tests/golden/wan-causal tests/golden/wan-dit tests/golden/wan-vae
# The CUDA backend: on the double, on this machine's GPUs.
CHECK_GPU = REEL_SRC=$(abs_top_srcdir) REEL_BUILD=$(abs_top_builddir) $(SHELL) $(top_srcdir)/tests/check_gpu.sh
check-cuda: all
	@$(MAKE) -s check TESTS=
	@$(CHECK_GPU) double
check-gpu: all
	@$(MAKE) -s check TESTS=
	@$(MAKE) -s bench/b_gpu
	@$(CHECK_GPU) gpu
.PHONY: check-cuda check-gpu

EXTRA_DIST += tests/check_gpu.sh
EXTRA_DIST += tests/check.sh tests/failures.sh tests/packages.txt tests/slurm.sh tests/lint.sh
dist_check_SCRIPTS += tests/t_slurm_bind.sh tests/t_completion.sh tests/t_packaging.sh tests/t_jobscripts.sh tests/t_lint.sh tests/t_launcher.sh tests/t_plugin.sh
check_DATA += tests/mpirun.sh

# src/track
check_PROGRAMS += tests/t_track
tests_t_track_SOURCES = tests/t_track.c
dist_check_SCRIPTS += tests/t_track_readers.sh
EXTRA_DIST += tests/oracle/wandb_server.py

# plugins: each is built in here, and as a shared object by t_plugin.sh
EXTRA_DIST += tests/plugins/README.md tests/plugins/patch_mlp/transformer/config.json
check_PROGRAMS += tests/t_patch_mlp tests/t_plugins
tests_t_plugins_SOURCES = tests/t_plugins.c tests/plugins/patch_mlp.c tests/plugins/adversarial.c \
  tests/plugins/update_ratio.c
tests_t_patch_mlp_SOURCES = tests/t_patch_mlp.c tests/plugins/patch_mlp.c tests/wan_rig.h tests/wan_rig.c
