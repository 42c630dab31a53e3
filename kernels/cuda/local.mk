# The CUDA backend: a module that the program opens when a run wants a GPU (src/be/module.c).
# Kernels; each is compiled by nvcc (.o) and, for tests, by the C++ compiler (.sim, .checked: tests/cuda.mk).
CUDA_KERNELS =
CUDA_KERNELS += kernels/cuda/attn_walk.cu kernels/cuda/attn_fwd.cu kernels/cuda/attn_bwd.cu kernels/cuda/vsa.cu
CUDA_KERNELS += $(ROW_KERNELS) kernels/cuda/linear.cu kernels/cuda/conv.cu
# all operators but matrix products and attention
ROW_KERNELS = kernels/cuda/elementwise.cu kernels/cuda/tile.cu kernels/cuda/norm.cu kernels/cuda/gate.cu \
  kernels/cuda/latent.cu kernels/cuda/distill.cu kernels/cuda/sum.cu
# its host side
CUDA_HOST = kernels/cuda/check.c kernels/cuda/product.c kernels/cuda/copy.c kernels/cuda/coll.c kernels/cuda/device.c
CUDA_INCLUDES = kernels/cuda/cuda.h kernels/cuda/module.h kernels/cuda/product.h
CUDA_INCLUDES += kernels/cuda/attn.h kernels/cuda/attn_mma.h kernels/cuda/attn_plain.h
CUDA_INCLUDES += kernels/cuda/vec.h kernels/cuda/map.h kernels/cuda/tree.h kernels/cuda/rows.h kernels/cuda/frames.h
EXTRA_DIST += kernels/cuda/README.md $(CUDA_KERNELS) $(CUDA_HOST) $(CUDA_INCLUDES)

CUDA_PARTS = $(CUDA_CPPFLAGS) $(AM_CPPFLAGS) $(CPPFLAGS)
CUDA_NEEDS = $(CUDA_INCLUDES) kernels/kernels.h kernels/ops.def kernels/mask.h kernels/pieces.h kernels/scalar.h src/base/rng.h \
  src/base/exact.h src/tensor/half.h

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

if HAVE_CUDA
moduledir = $(pkglibdir)
module_PROGRAMS = reel_cuda.so
reel_cuda_so_SOURCES = $(CUDA_HOST)
reel_cuda_so_CPPFLAGS = $(CUDA_PARTS)
reel_cuda_so_CFLAGS = $(AM_CFLAGS) -fPIC
reel_cuda_so_LDFLAGS = $(REEL_LDFLAGS) -shared $(CUDA_LDFLAGS)
reel_cuda_so_LDADD = $(CUDA_KERNELS:.cu=.o) $(CUDA_LIBS) -lstdc++
reel_cuda_so_DEPENDENCIES = $(CUDA_KERNELS:.cu=.o)
$(CUDA_KERNELS:.cu=.o): $(CUDA_NEEDS)
CLEANFILES += $(CUDA_KERNELS:.cu=.o)

kernels/cuda/reel_cuda_so-device.$(OBJEXT) kernels/cuda/reel_cuda_double_so-device.$(OBJEXT) \
  kernels/cuda/reel_cuda_checked_so-device.$(OBJEXT): src/base/abi.h

# the same host sources and kernels on a stand-in for GPU, CUDA runtime, cuBLASLt and NCCL (tests/cuda)
EXTRA_PROGRAMS += reel_cuda_double.so reel_cuda_checked.so
check_DATA += reel_cuda_double.so
reel_cuda_double_so_SOURCES = $(CUDA_HOST) $(DOUBLE_SOURCES)
reel_cuda_double_so_CPPFLAGS = -I$(top_srcdir)/tests/cuda $(CUDA_PARTS) $(MPI_CPPFLAGS)
reel_cuda_double_so_CFLAGS = $(AM_CFLAGS) -fPIC
reel_cuda_double_so_LDFLAGS = $(REEL_LDFLAGS) -shared
DOUBLE_LINK = $(DOUBLE_LIBS) $(MPI_LIBS) -lstdc++
reel_cuda_double_so_LDADD = $(CUDA_KERNELS:.cu=.sim) $(DOUBLE_LINK)
reel_cuda_double_so_DEPENDENCIES = $(CUDA_KERNELS:.cu=.sim) $(DOUBLE_LIBS)

# ... with every access of a kernel checked: some five times slower
check_DATA += reel_cuda_checked.so
reel_cuda_checked_so_SOURCES = $(reel_cuda_double_so_SOURCES)
reel_cuda_checked_so_CPPFLAGS = $(reel_cuda_double_so_CPPFLAGS)
reel_cuda_checked_so_CFLAGS = $(reel_cuda_double_so_CFLAGS)
reel_cuda_checked_so_LDFLAGS = $(reel_cuda_double_so_LDFLAGS)
reel_cuda_checked_so_LDADD = $(CUDA_KERNELS:.cu=.checked) $(SIMT_CHECK_OBJECTS) $(DOUBLE_LINK)
reel_cuda_checked_so_DEPENDENCIES = $(CUDA_KERNELS:.cu=.checked) $(SIMT_CHECK_OBJECTS) $(DOUBLE_LIBS)
CLEANFILES += reel_cuda_double.so reel_cuda_checked.so
endif
