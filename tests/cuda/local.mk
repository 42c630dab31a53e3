# What reel_cuda_double.so is made of besides the module's own sources: the executor of kernels, and the
# stand-ins for the CUDA runtime, cuBLASLt and NCCL.
DOUBLE_SOURCES =
DOUBLE_LIBS =
