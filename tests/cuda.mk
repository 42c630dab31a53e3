# CUDA kernels without a GPU: tests/cuda/README.md. The executor needs the toolkit's headers, not a driver.
SIMT_H = tests/cuda/simt_host.h tests/cuda/simt_rt.h tests/cuda/simt_exec.h tests/cuda/simt_fiber.h
SIMT_CC = tests/cuda/simt_fiber.cc tests/cuda/simt_exec.cc tests/cuda/simt_warp.cc tests/cuda/simt_launch.cc
EXTRA_DIST += $(SIMT_H) $(SIMT_CC)
SIMT_OBJECTS = $(SIMT_CC:.cc=.simt)

# x.cu or x.cc -> x.simt, an object for the host; x.cu -> x.checked, every access of it seen by the checker
SUFFIXES += .cc .simt .checked
SIMT_COMPILE = $(CXX) $(SIMT_CXXFLAGS) $(DEFS) $(AM_CPPFLAGS) -isystem $(CUDA_INCLUDE) -I$(top_srcdir)/tests/cuda \
  $(CPPFLAGS) -MD -MP -MF $@.d -MT $@ -x c++ -c -o $@
AM_V_SIMT = $(am__v_SIMT_@AM_V@)
am__v_SIMT_ = $(am__v_SIMT_@AM_DEFAULT_V@)
am__v_SIMT_0 = @echo "  SIMT    " $@;
am__v_SIMT_1 =
.cc.simt:
	$(AM_V_SIMT)$(MKDIR_P) $(@D) && $(SIMT_COMPILE) $<
.cu.simt:
	$(AM_V_SIMT)$(MKDIR_P) $(@D) && $(SIMT_COMPILE) $<
.cu.checked:
	$(AM_V_SIMT)$(MKDIR_P) $(@D) && $(SIMT_COMPILE) -O1 -fsanitize=thread $<
# whoever makes another object by these rules adds it here, for its dependencies
SIMT_TRACKED = $(SIMT_OBJECTS)
-include $(SIMT_TRACKED:=.d)

if HAVE_CUDA
check_DATA += tests/cuda/libsimt.a
tests/cuda/libsimt.a: $(SIMT_OBJECTS)
	$(AM_V_AR)rm -f $@ && $(AR) cr $@ $(SIMT_OBJECTS)
endif
CLEANFILES += tests/cuda/*.a tests/cuda/*.simt tests/cuda/*.checked tests/cuda/*.d kernels/cuda/*.simt kernels/cuda/*.checked kernels/cuda/*.d
