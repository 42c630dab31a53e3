check_PROGRAMS += tests/t_schedule
tests_t_schedule_SOURCES = tests/t_schedule.c
EXTRA_DIST += tests/golden/schedules/schedules.safetensors tests/golden/schedulers/tables.safetensors \
	tests/golden/schedulers/few_step.safetensors
