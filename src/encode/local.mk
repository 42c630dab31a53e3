libreel_a_SOURCES += src/encode/encode.h src/encode/text.c src/encode/text_cache.h src/encode/text_cache.c src/encode/codec.c src/encode/choose.c
libreel_a_SOURCES += src/encode/tokenizer.h src/encode/tokenizer.c src/encode/tokenizer_json.c
# C++, but nothing that is linked with it is: programs keep the C linker and name libstdc++ (SPM_LIBS)
libreel_a_SOURCES += src/encode/spm.h src/encode/spm.cc
libreel_a_SOURCES += src/encode/umt5.h src/encode/umt5_priv.h src/encode/umt5.c src/encode/umt5_load.c src/encode/umt5_run.c
libreel_a_SOURCES += src/encode/vae.h src/encode/vae_priv.h src/encode/vae.c src/encode/vae_config.c src/encode/vae_load.c \
  src/encode/vae_net.c src/encode/vae_film.c
EXTRA_DIST += src/encode/README.md
