# CUDA kernels without a GPU: tests/cuda/README.md. The executor needs the toolkit's headers, not a driver.
SIMT_H = tests/cuda/simt_host.h tests/cuda/simt_rt.h tests/cuda/simt_exec.h tests/cuda/simt_fiber.h
SIMT_CC = tests/cuda/simt_fiber.cc tests/cuda/simt_exec.cc tests/cuda/simt_warp.cc tests/cuda/simt_launch.cc \
  tests/cuda/simt_record.cc tests/cuda/simt_site.cc
SIMT_CHECK_CC = tests/cuda/simt_check.cc tests/cuda/simt_race.cc tests/cuda/simt_hooks.cc tests/cuda/simt_traffic.cc
EXTRA_DIST += $(SIMT_H) $(SIMT_CC) $(SIMT_CHECK_CC) tests/cuda/simt_check.h
SIMT_OBJECTS = $(SIMT_CC:.cc=.sim)
SIMT_CHECK_OBJECTS = $(SIMT_CHECK_CC:.cc=.sim)

# x.cu or x.cc -> x.sim, an object for the host; x.cu -> x.checked, every access of it seen by the checker.
# -O1: fewer of a kernel's accesses are merged before the checker sees them.
SUFFIXES += .cc .sim .checked
SIMT_SANITIZE = -DMAX_BLOCKS=2 -O1 -fsanitize=thread,alignment,bounds,shift
SIMCOMPILE = $(NVCC_LAUNCHER) $(CXX) -x c++ $(SIMT_CXXFLAGS) $(CXXFLAGS_SIM) $(DEFS) -I$(top_srcdir)/tests/cuda \
  -isystem $(CUDA_INCLUDE) $(MPI_CPPFLAGS) $(AM_CPPFLAGS) $(CPPFLAGS) -MD -MP -MF $@.d -MT $@ -c -o $@
AM_V_SIM = $(am__v_SIM_@AM_V@)
am__v_SIM_ = $(am__v_SIM_@AM_DEFAULT_V@)
am__v_SIM_0 = @echo "  SIM     " $@;
am__v_SIM_1 =
.cc.sim:
	$(AM_V_SIM)$(MKDIR_P) $(@D) && $(SIMCOMPILE) $<
.cu.sim:
	$(AM_V_SIM)$(MKDIR_P) $(@D) && $(SIMCOMPILE) $<
.cu.checked:
	$(AM_V_SIM)$(MKDIR_P) $(@D) && $(SIMCOMPILE) $(SIMT_SANITIZE) $<
# whoever makes another object by these rules adds it here, for its dependencies
SIMT_TRACKED = $(FAKE_OBJECTS) tests/cuda/double_cases.sim $(SIMT_OBJECTS) $(SIMT_CHECK_OBJECTS) $(SIMT_TEST_OBJECTS) $(CUDA_KERNELS:.cu=.sim) $(CUDA_KERNELS:.cu=.checked)
SIMT_TEST_OBJECTS = tests/cuda/t_simt.sim tests/cuda/simt_bugs.sim tests/cuda/simt_bugs.checked tests/cuda/t_simt_words.sim \
  tests/cuda/simt_clean.sim tests/cuda/simt_clean.checked
-include $(SIMT_TRACKED:=.d)
$(SIMT_TRACKED): $(top_srcdir)/tests/cuda.mk

SIMT_TESTS =
if HAVE_CUDA
check_DATA += tests/cuda/libsimt.a
tests/cuda/libsimt.a: $(SIMT_OBJECTS)
	$(AM_V_AR)rm -f $@ && $(AR) cr $@ $(SIMT_OBJECTS)

# the executor's own tests: the checker is in by being linked
SIMT_LD = $(AM_V_CCLD)$(CXX) $(AM_LDFLAGS) $(LDFLAGS) -o $@
SIMT_TESTS += tests/cuda/t_simt tests/cuda/t_simt_checked tests/cuda/t_simt_words tests/cuda/t_simt_words_checked
TESTS += $(SIMT_TESTS)
check_DATA += $(SIMT_TESTS)
tests/cuda/t_simt: tests/cuda/t_simt.sim tests/cuda/simt_bugs.sim $(SIMT_OBJECTS)
	$(SIMT_LD) tests/cuda/t_simt.sim tests/cuda/simt_bugs.sim $(SIMT_OBJECTS)
tests/cuda/t_simt_checked: tests/cuda/t_simt.sim tests/cuda/simt_bugs.checked $(SIMT_OBJECTS) $(SIMT_CHECK_OBJECTS)
	$(SIMT_LD) tests/cuda/t_simt.sim tests/cuda/simt_bugs.checked $(SIMT_OBJECTS) $(SIMT_CHECK_OBJECTS) -ldl
tests/cuda/t_simt_words: tests/cuda/t_simt_words.sim tests/cuda/simt_clean.sim $(SIMT_OBJECTS)
	$(SIMT_LD) tests/cuda/t_simt_words.sim tests/cuda/simt_clean.sim $(SIMT_OBJECTS)
tests/cuda/t_simt_words_checked: tests/cuda/t_simt_words.sim tests/cuda/simt_clean.checked $(SIMT_OBJECTS) $(SIMT_CHECK_OBJECTS)
	$(SIMT_LD) tests/cuda/t_simt_words.sim tests/cuda/simt_clean.checked $(SIMT_OBJECTS) $(SIMT_CHECK_OBJECTS) -ldl

# kernels against the CPU backend
SIMT_TESTS += tests/cuda/t_rows tests/cuda/t_rows_checked
SIMT_TEST_OBJECTS += tests/cuda/t_rows.sim
ROW_OBJECTS = tests/cuda/t_rows.sim $(ROW_KERNELS:.cu=.sim) $(SIMT_OBJECTS)
ROW_CHECKED = tests/cuda/t_rows.sim $(ROW_KERNELS:.cu=.checked) $(SIMT_OBJECTS) $(SIMT_CHECK_OBJECTS)
ROW_LIBS = libreel.a $(HWLOC_LIBS) $(LIBS) -lpthread -ldl -lm
tests/cuda/t_rows: $(ROW_OBJECTS) libreel.a
	$(SIMT_LD) $(ROW_OBJECTS) $(ROW_LIBS)
tests/cuda/t_rows_checked: $(ROW_CHECKED) libreel.a
	$(SIMT_LD) $(ROW_CHECKED) $(ROW_LIBS)
endif
EXTRA_DIST += tests/cuda/t_rows.cc tests/cuda/README.md tests/cuda/mutate.sh tests/cuda/t_simt.cc tests/cuda/simt_rig.h tests/cuda/simt_bugs.cu tests/cuda/simt_bugs.h \
  tests/cuda/t_simt_words.cc tests/cuda/simt_clean.cu tests/cuda/simt_clean.h
CLEANFILES += $(SIMT_TESTS) tests/cuda/*.a tests/cuda/*.sim tests/cuda/*.checked tests/cuda/*.d kernels/cuda/*.sim kernels/cuda/*.checked kernels/cuda/*.d
dist_check_SCRIPTS += tests/t_gpu_static.sh
