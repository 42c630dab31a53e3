libreel_a_SOURCES += src/media/family.h src/media/family.c src/media/clips.h src/media/clips.c \
  src/media/dct.h src/media/dct.c src/media/normal64.h src/media/text.h src/media/text.c \
  src/media/measure.h src/media/measure.c src/media/benchmark.h src/media/benchmark.c src/media/fit.h src/media/fit.c src/media/picture.h \
  src/media/picture.c src/media/letters.h src/media/letters.c src/media/video.h src/media/video.c src/media/movie.h src/media/movie.c src/media/gif.c src/media/av.h src/media/av.c
EXTRA_DIST += src/media/README.md
