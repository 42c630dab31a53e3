# One block per area; a test is one program (or script) that prints TAP.
EXTRA_DIST += tests/tap.h tests/device.h
# libraries that tests preload: into shells and launchers too, which no sanitizer was linked to, and before one has begun
PRELOAD_CFLAGS = $(AM_CFLAGS) -fPIC -fno-sanitize=all
include tests/base.mk
include tests/config.mk
include tests/comm.mk
include tests/kernels.mk
include tests/linear.mk
include tests/data.mk
include tests/encode.mk
include tests/ckpt.mk
include tests/model.mk
include tests/train.mk
include tests/methods.mk
include tests/cuda.mk
include tests/house.mk
