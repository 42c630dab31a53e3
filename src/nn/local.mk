libreel_a_SOURCES += src/nn/schedule.h src/nn/schedule.c
