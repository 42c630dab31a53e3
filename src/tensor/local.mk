libreel_a_SOURCES += src/tensor/tensor.h src/tensor/tensor.c src/tensor/sizes.h src/tensor/sizes.c
libreel_a_SOURCES += src/tensor/half.h src/tensor/safetensors.h src/tensor/safetensors.c src/tensor/weights.h src/tensor/weights.c
EXTRA_DIST += src/tensor/README.md
