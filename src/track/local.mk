libreel_a_SOURCES += src/track/track.h src/track/track_priv.h src/track/track.c src/track/buf.c src/track/file.c \
  src/track/sha256.c src/track/jsonl.c src/track/tensorboard.c src/track/wandb.c
EXTRA_DIST += src/track/README.md
