# The registry: sources and table both come from this list.
MODELS = src/models/wan.c src/models/wan_causal.c
libreel_a_SOURCES += src/models/model.h src/models/model.c src/models/lora.h src/models/lora.c src/models/sampler.h src/models/sampler.c $(MODELS)
libreel_a_SOURCES += src/models/wan_priv.h src/models/wan_config.c src/models/wan_params.c src/models/wan_names.c src/models/wan_block.c \
	src/models/wan_kv.c src/models/wan_pass.c
nodist_libreel_a_SOURCES += src/models/models.def
BUILT_SOURCES += src/models/models.def
CLEANFILES += src/models/models.def
EXTRA_DIST += src/models/README.md
src/models/models.def: Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && \
	for f in $(MODELS); do n=$${f##*/}; echo "REEL_MODEL($${n%.c})"; done > $@
