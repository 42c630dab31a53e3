# built by "make bench": not part of "make all"
EXTRA_PROGRAMS += bench/b_attn
if HAVE_BLAS
EXTRA_PROGRAMS += bench/b_gemm
endif
bench_b_gemm_SOURCES = bench/b_gemm.c bench/bench.h
bench_b_gemm_CPPFLAGS = $(AM_CPPFLAGS) $(BLAS_CFLAGS)
bench_b_gemm_LDADD = $(LDADD) $(BLAS_LIBS)
bench_b_attn_SOURCES = bench/b_attn.c bench/bench.h
EXTRA_PROGRAMS += bench/b_vsa
bench_b_vsa_SOURCES = bench/b_vsa.c bench/bench.h
EXTRA_PROGRAMS += bench/b_sp
bench_b_sp_SOURCES = bench/b_sp.c bench/bench.h tests/wan_rig.h tests/wan_rig.c
EXTRA_PROGRAMS += bench/b_comm
bench_b_comm_SOURCES = bench/b_comm.c
EXTRA_PROGRAMS += bench/b_ops
bench_b_ops_SOURCES = bench/b_ops.c
EXTRA_PROGRAMS += bench/b_ckpt
bench_b_ckpt_SOURCES = bench/b_ckpt.c
EXTRA_PROGRAMS += bench/b_step bench/b_read
bench_b_read_SOURCES = bench/b_read.c
bench_b_step_SOURCES = bench/b_step.c
EXTRA_DIST += bench/gpu_table.sh bench/distill_quality bench/distill_quality.d
EXTRA_PROGRAMS += bench/b_vae
bench_b_vae_SOURCES = bench/b_vae.c bench/bench.h
EXTRA_DIST += bench/vae_torch.py
EXTRA_DIST += bench/step_torch.py bench/attn_torch.py bench/dmd2_torch.py bench/umt5_torch.py bench/ckpt_torch.py
EXTRA_PROGRAMS += bench/b_umt5
bench_b_umt5_SOURCES = bench/b_umt5.c bench/bench.h

# what nvcc made of the kernels; t_gpu_static.sh reads it too
if HAVE_CUDA
EXTRA_PROGRAMS += bench/gpu_static
check_DATA += bench/gpu_static
bench_gpu_static_SOURCES = bench/gpu_static.c
bench_gpu_static_CPPFLAGS = -isystem $(CUDA_INCLUDE)
bench_gpu_static_LDADD =
endif

EXTRA_PROGRAMS += bench/b_gpu
bench_b_gpu_SOURCES = bench/b_gpu.c

bench: $(EXTRA_PROGRAMS)
.PHONY: bench
