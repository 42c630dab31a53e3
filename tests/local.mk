# One block per area; a test is one program (or script) that prints TAP.
EXTRA_DIST += tests/tap.h tests/device.h
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
