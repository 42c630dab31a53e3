libreel_a_SOURCES += src/train/schema.h src/train/schema.c
