libreel_a_SOURCES += src/track/track.h
EXTRA_DIST += src/track/README.md
