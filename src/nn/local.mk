libreel_a_SOURCES += src/nn/schedule.h src/nn/schedule.c
libreel_a_SOURCES += src/nn/params.h src/nn/params_priv.h src/nn/params.c src/nn/gather.c src/nn/grads.c
EXTRA_DIST += src/nn/README.md
