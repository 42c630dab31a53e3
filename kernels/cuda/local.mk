# The CUDA backend: a module that the program opens when a run wants a GPU (src/be/module.c).
# Kernels; each is compiled twice, by nvcc (.o) and, for tests, by the C++ compiler (.sim).
CUDA_KERNELS = kernels/cuda/missing.cu
CUDA_KERNELS += kernels/cuda/attn_walk.cu kernels/cuda/attn_fwd.cu
# its host side
CUDA_HOST = kernels/cuda/check.c kernels/cuda/copy.c kernels/cuda/coll.c kernels/cuda/device.c
CUDA_INCLUDES = kernels/cuda/cuda.h kernels/cuda/module.h
CUDA_INCLUDES += kernels/cuda/attn.h kernels/cuda/attn_mma.h kernels/cuda/attn_plain.h
EXTRA_DIST += kernels/cuda/README.md $(CUDA_KERNELS) $(CUDA_HOST) $(CUDA_INCLUDES)

CUDA_PARTS = $(CUDA_CPPFLAGS) $(AM_CPPFLAGS) $(CPPFLAGS)
CUDA_NEEDS = $(CUDA_INCLUDES) kernels/kernels.h kernels/ops.def kernels/mask.h kernels/scalar.h src/base/rng.h src/tensor/half.h

# nvcc: one object with code for every generation asked for, and PTX of the last for those to come.
# -fmad=false: as on the CPU, a*b+c rounds twice; where an FMA is wanted it is written.
NVCOMPILE = $(NVCC_LAUNCHER) $(NVCC) $(NVCCFLAGS) $(NVCC_WARN) $(NVCC_GENCODE) -fmad=false $(DEFS) $(CUDA_PARTS) \
  -Xcompiler -fPIC,-Wall,-ffp-contract=off
AM_V_NVCC = $(am__v_NVCC_@AM_V@)
am__v_NVCC_ = $(am__v_NVCC_@AM_DEFAULT_V@)
am__v_NVCC_0 = @echo "  NVCC    " $@;
am__v_NVCC_1 =
.cu.o:
	$(AM_V_NVCC)$(MKDIR_P) $(@D) && $(NVCOMPILE) -c -o $@ $<

# the same sources for the host; -fno-strict-aliasing: kernels read memory by whatever width suits
SIMCOMPILE = $(NVCC_LAUNCHER) $(CXX) -x c++ -std=c++17 $(CXXFLAGS_SIM) -g -ffp-contract=off -fno-strict-aliasing -fPIC \
  $(DEFS) -I$(top_srcdir)/tests/cuda $(CUDA_PARTS)
AM_V_SIM = $(am__v_SIM_@AM_V@)
am__v_SIM_ = $(am__v_SIM_@AM_DEFAULT_V@)
am__v_SIM_0 = @echo "  SIM     " $@;
am__v_SIM_1 =
.cu.sim:
	$(AM_V_SIM)$(MKDIR_P) $(@D) && $(SIMCOMPILE) -c -o $@ $<

if HAVE_CUDA
moduledir = $(pkglibdir)
module_PROGRAMS = reel_cuda.so
reel_cuda_so_SOURCES = $(CUDA_HOST)
reel_cuda_so_CPPFLAGS = $(CUDA_PARTS)
reel_cuda_so_CFLAGS = $(AM_CFLAGS) -fPIC
reel_cuda_so_LDFLAGS = $(REEL_LDFLAGS) -shared $(CUDA_LDFLAGS)
reel_cuda_so_LDADD = $(CUDA_KERNELS:.cu=.o) $(CUDA_LIBS) -lstdc++
reel_cuda_so_DEPENDENCIES = $(CUDA_KERNELS:.cu=.o)
$(CUDA_KERNELS:.cu=.o) $(CUDA_KERNELS:.cu=.sim): $(CUDA_NEEDS)
CLEANFILES += $(CUDA_KERNELS:.cu=.o) $(CUDA_KERNELS:.cu=.sim)

kernels/cuda/reel_cuda_so-device.$(OBJEXT) kernels/cuda/reel_cuda_double_so-device.$(OBJEXT): src/base/abi.h

# the same host sources and kernels on a stand-in for GPU, CUDA runtime, cuBLASLt and NCCL (tests/cuda)
EXTRA_PROGRAMS += reel_cuda_double.so
check_DATA += reel_cuda_double.so
reel_cuda_double_so_SOURCES = $(CUDA_HOST) $(DOUBLE_SOURCES)
reel_cuda_double_so_CPPFLAGS = -I$(top_srcdir)/tests/cuda $(CUDA_PARTS) $(MPI_CPPFLAGS)
reel_cuda_double_so_CFLAGS = $(AM_CFLAGS) -fPIC
reel_cuda_double_so_CXXFLAGS = -std=c++17 -Wall -Wextra -fPIC
reel_cuda_double_so_LDFLAGS = $(REEL_LDFLAGS) -shared
reel_cuda_double_so_LDADD = $(CUDA_KERNELS:.cu=.sim) $(DOUBLE_LIBS) $(MPI_LIBS) -lstdc++
reel_cuda_double_so_DEPENDENCIES = $(CUDA_KERNELS:.cu=.sim) $(DOUBLE_LIBS)
CLEANFILES += reel_cuda_double.so
endif
