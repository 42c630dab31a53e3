libreel_a_SOURCES += src/media/family.h src/media/family.c
