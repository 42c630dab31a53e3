# The build system's own tests and the launcher's preloaded library.
EXTRA_DIST += tests/check.sh tests/lint.sh tests/yield.c tests/cuda_smoke.cu
dist_check_SCRIPTS += tests/t_lint.sh tests/t_launcher.sh

check_DATA += tests/yield.so
CLEANFILES += tests/yield.so
tests/yield.so: tests/yield.c
	$(AM_V_CCLD)$(MKDIR_P) $(@D) && $(CC) $(CFLAGS) -shared -fPIC -o $@ $< -ldl

if HAVE_CUDA
check_DATA += tests/cuda_smoke.o
CLEANFILES += tests/cuda_smoke.o
endif

# src/track
check_PROGRAMS += tests/t_track
tests_t_track_SOURCES = tests/t_track.c
dist_check_SCRIPTS += tests/t_track_readers.sh
