libreel_a_SOURCES += src/be/be.h src/be/ops.h src/be/backend.h src/be/device.h src/be/place.h src/be/cores.h src/be/cores.c src/be/be.c src/be/memory.c src/be/module.c src/be/gpus.c src/be/place.c src/be/specs.c src/be/check.h src/be/ops.c src/be/ops_elem.c src/be/ops_vsa.c src/be/ops_conv.c
EXTRA_DIST += src/be/README.md
src/be/module.$(OBJEXT): src/base/abi.h
