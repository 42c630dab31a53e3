# What reel_cuda_double.so is made of besides the module's own sources: the executor of kernels, and the
# stand-ins for the CUDA runtime, cuBLASLt and NCCL.
FAKE_SOURCES = tests/cuda/fake.h tests/cuda/fake_op.cc tests/cuda/fake_memory.cc tests/cuda/fake_cuda.cc tests/cuda/fake_copy.cc \
  tests/cuda/fake_launch.cc tests/cuda/fake_lt.cc tests/cuda/fake_gemm.h tests/cuda/fake_gemm.c tests/cuda/fake_nccl.cc
EXTRA_DIST += $(FAKE_SOURCES)
DOUBLE_SOURCES = $(FAKE_SOURCES)
DOUBLE_LIBS = tests/cuda/libsimt.a
