libreel_a_SOURCES += src/be/be.h src/be/ops.h src/be/backend.h src/be/be.c src/be/check.h src/be/ops.c src/be/ops_elem.c src/be/ops_vsa.c
EXTRA_DIST += src/be/README.md
