libreel_a_SOURCES += src/models/model.h src/models/wan.c
EXTRA_DIST += src/models/README.md
