libreel_a_SOURCES += src/train/schema.h src/train/schema.c src/train/run.h src/train/build.c src/train/loop.c \
  src/train/init.h src/train/init.c src/train/report.h src/train/report.c src/train/finite.c \
  src/train/profile.h src/train/profile.c src/train/save.h src/train/save.c
