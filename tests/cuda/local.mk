# What reel_cuda_double.so is made of besides the module's own sources: the executor of kernels, and the
# stand-ins for the CUDA runtime, cuBLASLt and NCCL.
FAKE_CC = tests/cuda/fake_op.cc tests/cuda/fake_memory.cc tests/cuda/fake_cuda.cc tests/cuda/fake_copy.cc tests/cuda/fake_launch.cc \
  tests/cuda/fake_lt.cc tests/cuda/fake_nccl.cc
DOUBLE_SOURCES = tests/cuda/fake_gemm.h tests/cuda/fake_gemm.c
DOUBLE_LIBS = tests/cuda/libfake.a tests/cuda/libsimt.a
EXTRA_DIST += $(FAKE_CC) $(DOUBLE_SOURCES) tests/cuda/fake.h tests/cuda/double_cases.cc
FAKE_OBJECTS = $(FAKE_CC:.cc=.sim)

if HAVE_CUDA
tests/cuda/libfake.a: $(FAKE_OBJECTS)
	$(AM_V_AR)rm -f $@ && $(AR) cr $@ $(FAKE_OBJECTS)

# its own tests: tests/t_double.sh
CASES_PARTS = tests/cuda/double_cases.sim tests/cuda/reel_cuda_double_so-fake_gemm.$(OBJEXT) $(DOUBLE_LIBS) libreel.a
check_DATA += tests/cuda/double_cases
CLEANFILES += tests/cuda/double_cases
tests/cuda/double_cases: $(CASES_PARTS)
	$(AM_V_CCLD)$(CXX) -rdynamic $(AM_LDFLAGS) $(LDFLAGS) -o $@ $(CASES_PARTS) $(REEL_LIBS) $(MPI_LIBS)
endif
dist_check_SCRIPTS += tests/t_double.sh
