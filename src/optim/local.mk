libreel_a_SOURCES += src/optim/lr.h src/optim/lr.c src/optim/optim.h src/optim/optim.c
EXTRA_DIST += src/optim/README.md
