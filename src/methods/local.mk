# The registry: sources and table both come from this list.
METHODS = src/methods/sft.c src/methods/dfsft.c src/methods/tfsft.c src/methods/dmd2.c \
  src/methods/self_forcing.c src/methods/kd.c
libreel_a_SOURCES += src/methods/method.h src/methods/method.c $(METHODS)
nodist_libreel_a_SOURCES += src/methods/methods.def
BUILT_SOURCES += src/methods/methods.def
CLEANFILES += src/methods/methods.def
src/methods/methods.def: Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && \
	for f in $(METHODS); do n=$${f##*/}; echo "REEL_METHOD($${n%.c})"; done > $@
libreel_a_SOURCES += src/methods/check.h src/methods/check.c src/methods/dfsft.h src/methods/kd.h src/methods/distill.h \
  src/methods/distill.c
EXTRA_DIST += src/methods/README.md
