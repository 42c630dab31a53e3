EXTRA_DIST += tests/op.h
check_PROGRAMS += tests/t_op_ln tests/t_op_rms_rope tests/t_op_gate tests/t_op_elem tests/t_op_latent tests/t_op_distill tests/t_op_sum \
  tests/t_op_draws tests/t_op_adamw tests/t_op_front
tests_t_op_ln_SOURCES = tests/t_op_ln.c
tests_t_op_rms_rope_SOURCES = tests/t_op_rms_rope.c
tests_t_op_gate_SOURCES = tests/t_op_gate.c
tests_t_op_elem_SOURCES = tests/t_op_elem.c
tests_t_op_latent_SOURCES = tests/t_op_latent.c
tests_t_op_distill_SOURCES = tests/t_op_distill.c
tests_t_op_sum_SOURCES = tests/t_op_sum.c
tests_t_op_draws_SOURCES = tests/t_op_draws.c
tests_t_op_adamw_SOURCES = tests/t_op_adamw.c
tests_t_op_front_SOURCES = tests/t_op_front.c
check_PROGRAMS += tests/t_gpus
tests_t_gpus_SOURCES = tests/t_gpus.c
check_PROGRAMS += tests/t_device tests/t_device_np3
tests_t_device_SOURCES = tests/t_device.c
tests_t_device_np3_SOURCES = tests/t_device.c
