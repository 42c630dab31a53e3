libreel_a_SOURCES += src/preprocess/preprocess.h src/preprocess/preprocess_priv.h src/preprocess/preprocess.c src/preprocess/opts.c \
  src/preprocess/list.c src/preprocess/film.c src/preprocess/skips.c src/preprocess/sheet.c src/preprocess/hold.c
EXTRA_DIST += src/preprocess/README.md tools/parquet_to_safetensors.py
