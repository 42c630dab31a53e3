libreel_a_SOURCES += src/encode/encode.h src/encode/text.c src/encode/codec.c src/encode/choose.c
libreel_a_SOURCES += src/encode/umt5.h src/encode/umt5.c
libreel_a_SOURCES += src/encode/vae.h src/encode/vae.c
EXTRA_DIST += src/encode/README.md
