libreel_a_SOURCES += src/base/err.h src/base/err.c src/base/arena.h src/base/arena.c src/base/exact.h \
  src/base/exact.c src/base/rng.h src/base/opt.h src/base/cmd.h
libreel_a_SOURCES += src/base/file.h src/base/file.c src/base/json.h src/base/json.c src/base/crc.h src/base/crc.c src/base/hash.h src/base/csv.h src/base/csv.c src/base/clock.h src/base/clock.c src/base/thread.h src/base/thread.c src/base/bytes.h src/base/bytes.c
EXTRA_DIST += src/base/README.md
