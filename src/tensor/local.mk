libreel_a_SOURCES += src/tensor/tensor.h src/tensor/tensor.c
