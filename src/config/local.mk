libreel_a_SOURCES += src/config/pool.h src/config/pool.c src/config/node.h src/config/node.c \
  src/config/yaml.c src/config/scalar.c src/config/opt.c src/config/fill.c src/config/opts.c \
  src/config/preset.c src/config/config.h src/config/config_priv.h src/config/config.c \
  src/config/check.c src/config/drift.h src/config/drift.c src/config/dump.c src/config/schema.h src/config/env.h src/config/env.c src/config/audit.h src/config/audit.c \
  src/config/doc.h src/config/doc.c src/config/man.c src/config/complete.c
EXTRA_DIST += src/config/README.md
