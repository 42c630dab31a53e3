# eight-lane values stay inside inlined functions; the ABI they would be passed by does not matter
AM_CFLAGS += -Wno-psabi
libreel_a_SOURCES += kernels/ops.def kernels/kernels.h kernels/device.h kernels/mask.h kernels/pieces.h kernels/scalar.h kernels/cpu/pool.h kernels/cpu/pool.c \
  kernels/cpu/lane.h kernels/cpu/target.h kernels/cpu/tree.h kernels/cpu/isa_portable.c kernels/cpu/isa_avx2.c kernels/cpu/isa_avx512.c \
  kernels/cpu/linear.c kernels/cpu/attn.c kernels/cpu/gemm.h kernels/cpu/gemm_vec.h kernels/cpu/gemm_isa.c \
  kernels/cpu/gemm_portable.c kernels/cpu/gemm_avx2.c kernels/cpu/gemm_avx512.c kernels/cpu/gemm_avx512bf16.c
libreel_a_SOURCES += kernels/cpu/vsa.h kernels/cpu/vsa.c kernels/cpu/vsa_portable.c kernels/cpu/vsa_avx2.c kernels/cpu/vsa_avx512.c
# included by each gemm_*.c and vsa_*.c
libreel_a_SOURCES += kernels/cpu/gemm.inc kernels/cpu/gather.inc kernels/cpu/gemm_tile.inc kernels/cpu/attn.inc kernels/cpu/attn_tile.inc \
  kernels/cpu/vsa.inc
# included by each isa_*.c
libreel_a_SOURCES += kernels/cpu/loops.inc kernels/cpu/elementwise.inc kernels/cpu/tile.inc kernels/cpu/norm.inc \
  kernels/cpu/gate.inc kernels/cpu/latent.inc kernels/cpu/distill.inc kernels/cpu/sum.inc
EXTRA_DIST += kernels/cuda/simt.h
EXTRA_DIST += kernels/README.md kernels/cpu/README.md
