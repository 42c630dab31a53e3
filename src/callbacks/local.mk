# The registry: sources and table both come from this list.
CALLBACKS = src/callbacks/grad_clip.c src/callbacks/ema.c src/callbacks/validation.c
libreel_a_SOURCES += src/callbacks/callback.h src/callbacks/callback.c src/callbacks/ema.h src/callbacks/prompts.h src/callbacks/prompts.c \
  src/callbacks/validation_priv.h src/callbacks/films.c src/callbacks/held_out.c $(CALLBACKS)
nodist_libreel_a_SOURCES += src/callbacks/callbacks.def
BUILT_SOURCES += src/callbacks/callbacks.def
CLEANFILES += src/callbacks/callbacks.def
src/callbacks/callbacks.def: Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && \
	for f in $(CALLBACKS); do n=$${f##*/}; echo "REEL_CALLBACK($${n%.c})"; done > $@
EXTRA_DIST += src/callbacks/README.md
