libreel_a_SOURCES += src/data/draws.h src/data/draws_priv.h src/data/draws.c src/data/draws_device.c \
  src/data/order.h src/data/order.c src/data/loader.h src/data/loader.c \
  src/data/set.h src/data/set_priv.h src/data/set.c src/data/set_h5.c src/data/set_write.c src/data/set_spool.c src/data/set_import.c src/data/set_check.c \
  src/data/demo_set.h src/data/demo_set.c
EXTRA_DIST += src/data/README.md
