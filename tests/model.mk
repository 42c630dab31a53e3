check_PROGRAMS += tests/t_schedule
tests_t_schedule_SOURCES = tests/t_schedule.c

# the transformer against goldens, on one rank and in shards
WAN_RIG = tests/wan_rig.h tests/wan_rig.c tests/golden.h tests/golden_util.c tests/golden_wan.c tests/golden_wan_causal.c
check_PROGRAMS += tests/t_wan_golden tests/t_wan_golden_np2 tests/t_wan_golden_np4 tests/t_wan_spec tests/t_wan_props
tests_t_wan_golden_SOURCES = tests/t_wan_golden.c $(WAN_RIG)
tests_t_wan_golden_np2_SOURCES = $(tests_t_wan_golden_SOURCES)
tests_t_wan_golden_np4_SOURCES = $(tests_t_wan_golden_SOURCES)
tests_t_wan_spec_SOURCES = tests/t_wan_spec.c tests/wan_rig.h tests/wan_rig.c
tests_t_wan_props_SOURCES = tests/t_wan_props.c tests/wan_rig.h tests/wan_rig.c

# the causal transformer: its numbers, and what holds of streaming
check_PROGRAMS += tests/t_wan_causal tests/t_wan_stream tests/t_wan_stream_np2 tests/t_wan_stream_np4
tests_t_wan_causal_SOURCES = tests/t_wan_causal.c tests/wan_rig.h tests/wan_rig.c
tests_t_wan_stream_SOURCES = tests/t_wan_stream.c tests/wan_rig.h tests/wan_rig.c
tests_t_wan_stream_np2_SOURCES = $(tests_t_wan_stream_SOURCES)
tests_t_wan_stream_np4_SOURCES = $(tests_t_wan_stream_SOURCES)
check_PROGRAMS += tests/t_vsa_schedule
tests_t_vsa_schedule_SOURCES = tests/t_vsa_schedule.c tests/cfg.h
# adapters
check_PROGRAMS += tests/t_lora tests/t_lora_lin
tests_t_lora_SOURCES = tests/t_lora.c tests/wan_rig.h tests/wan_rig.c
tests_t_lora_lin_SOURCES = tests/t_lora_lin.c
# sequence parallel ranks against one rank
check_PROGRAMS += tests/t_wan_sp_np2 tests/t_wan_sp_np3 tests/t_wan_sp_np4 tests/t_wan_sp_np6
tests_t_wan_sp_np2_SOURCES = tests/t_wan_sp.c tests/wan_rig.h tests/wan_rig.c
tests_t_wan_sp_np3_SOURCES = $(tests_t_wan_sp_np2_SOURCES)
tests_t_wan_sp_np4_SOURCES = $(tests_t_wan_sp_np2_SOURCES)
tests_t_wan_sp_np6_SOURCES = $(tests_t_wan_sp_np2_SOURCES)
