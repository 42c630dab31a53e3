# The golden runner: build/tests/golden is a link, since a build inside the source tree has the folder
# of golden files under that name.
noinst_PROGRAMS += tests/golden_run tests/png_diff
tests_png_diff_SOURCES = tests/png_diff.c
tests_golden_run_SOURCES = tests/golden.h tests/golden.c tests/golden_util.c tests/golden_method.c tests/golden_draws.c \
  tests/golden_schedules.c tests/golden_samplers.c tests/golden_adamw.c tests/golden_dcp.c tests/golden_demo.c tests/golden_media.c tests/golden_hf.c \
  tests/golden_wan.c tests/golden_wan_causal.c tests/golden_lora.c tests/golden_umt5.c tests/golden_vae.c tests/golden_vsa.h tests/golden_vsa.c tests/golden_vsa_model.c tests/wan_rig.h tests/wan_rig.c
noinst_DATA += tests/golden.stamp
CLEANFILES += tests/golden.stamp
tests/golden.stamp: tests/golden_run$(EXEEXT)
	$(AM_V_at)test -d tests/golden || ln -sf golden_run tests/golden
	$(AM_V_at)touch $@

check_PROGRAMS += tests/t_stop_asked tests/t_lr tests/t_sampler tests/t_prompts tests/t_validation_levels
tests_t_prompts_SOURCES = tests/t_prompts.c
tests_t_validation_levels_SOURCES = tests/t_validation_levels.c
tests_t_stop_asked_SOURCES = tests/t_stop_asked.c
tests_t_lr_SOURCES = tests/t_lr.c
tests_t_sampler_SOURCES = tests/t_sampler.c
# t_stop.sh: fast_clock.so is preloaded
noinst_PROGRAMS += tests/fast_clock.so
tests_fast_clock_so_SOURCES = tests/fast_clock.c
tests_fast_clock_so_CFLAGS = $(PRELOAD_CFLAGS)
tests_fast_clock_so_LDFLAGS = -shared
tests_fast_clock_so_LDADD =
EXTRA_DIST += tests/lib.sh tests/train.sh tests/where.sh tests/tiny.yaml tests/tiny/transformer/config.json
noinst_PROGRAMS += tests/ckpt_tool
tests_ckpt_tool_SOURCES = tests/ckpt_tool.c
dist_check_SCRIPTS += tests/t_plan.sh tests/t_ema.sh tests/t_validation.sh tests/t_validation_kinds.sh tests/t_lora_run.sh tests/t_vsa.sh tests/t_golden_all.sh tests/t_golden_sft.sh tests/t_bits.sh tests/t_sp.sh tests/t_layouts.sh tests/t_resume_sft.sh tests/t_drift.sh tests/t_drift_weights.sh tests/t_train_faults.sh tests/t_stop.sh tests/t_bind.sh \
  tests/t_report.sh tests/t_film.sh tests/t_generate.sh tests/t_generate_torch.sh tests/t_quickstart.sh
# knowledge distillation
check_PROGRAMS += tests/t_kd
tests_t_kd_SOURCES = tests/t_kd.c
EXTRA_DIST += tests/cfg.h tests/tiny_kd.yaml tests/golden/kd tests/golden/kd-causal tests/oracle/kd_golden.py tests/oracle/kd_torch.py tests/oracle/generate_torch.py
dist_check_SCRIPTS += tests/t_kd_run.sh tests/t_kd_torch.sh tests/t_configs.sh
# t_step_mem.sh: step_mem.so is preloaded
noinst_PROGRAMS += tests/step_mem.so
tests_step_mem_so_SOURCES = tests/step_mem.c
tests_step_mem_so_CFLAGS = $(PRELOAD_CFLAGS)
tests_step_mem_so_LDFLAGS = -shared
tests_step_mem_so_LDADD =
dist_check_SCRIPTS += tests/t_step_mem.sh tests/t_traffic.sh tests/t_gpu_films.sh
