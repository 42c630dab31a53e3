libreel_a_SOURCES += src/train/schema.h src/train/schema.c src/train/plugin.h src/train/plugin.c src/train/run.h src/train/build.c src/train/loop.c \
  src/train/init.h src/train/init.c src/train/lora.h src/train/lora.c src/train/report.h src/train/report.c src/train/notes.h src/train/notes.c src/train/finite.c \
  src/train/profile.h src/train/profile.c src/train/spread.h src/train/spread.c src/train/save.h src/train/save.c src/train/restarts.h src/train/restarts.c src/train/needs.h src/train/needs.c \
  src/train/generate.h src/train/generate_priv.h src/train/generate.c src/train/generate_what.c src/train/generate_out.c src/train/generate_plan.c src/train/data.h src/train/data.c src/train/device.h src/train/device.c \
  src/train/trajectories.h src/train/trajectories.c src/train/estimate.h src/train/estimate.c src/train/machine.c \
  src/train/fit.h src/train/fit.c src/train/preflight.h src/train/preflight.c
libreel_a_SOURCES += src/train/found.h src/train/found.c src/train/drift.h src/train/drift.c src/train/import.h src/train/import.c
libreel_a_SOURCES += src/train/cli.h src/train/cli.c src/train/commands.h src/train/commands.c

# config.json of the well-known models as C strings: their text stands once, in configs/
ARCH = wan-1.3b wan-14b
ARCH_JSON = $(top_srcdir)/configs/wan-1.3b/transformer/config.json $(top_srcdir)/configs/wan-14b/transformer/config.json
nodist_libreel_a_SOURCES += src/train/arch.inc
BUILT_SOURCES += src/train/arch.inc
CLEANFILES += src/train/arch.inc
src/train/arch.inc: Makefile $(ARCH_JSON)
	$(AM_V_GEN)$(MKDIR_P) $(@D) && for a in $(ARCH); do \
	  echo "{ \"$$a\"," && sed 's/["\\]/\\&/g; s/^/"/; s/$$/\\n"/' $(top_srcdir)/configs/$$a/transformer/config.json && echo "},"; \
	done > $@.tmp && mv $@.tmp $@

# the reference: written from the option tables by a program that is not installed
noinst_PROGRAMS += src/train/mkref
src_train_mkref_SOURCES = src/train/mkref.c
man_MANS = reel.1
CLEANFILES += reel.1
reel.1: src/train/mkref$(EXEEXT)
	$(AM_V_GEN)src/train/mkref$(EXEEXT) man > $@.tmp && mv $@.tmp $@
# named as the program, as bash looks for it
bashcompdir = $(datadir)/bash-completion/completions
bashcomp_DATA = completions/reel
CLEANFILES += completions/reel
completions/reel: src/train/mkref$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) completions && src/train/mkref$(EXEEXT) bash > $@.tmp && mv $@.tmp $@
EXTRA_DIST += src/train/README.md
