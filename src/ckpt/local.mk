libreel_a_SOURCES += src/ckpt/io.h src/ckpt/io.c src/ckpt/pickle.h src/ckpt/pickle.c src/ckpt/pickle_write.c src/ckpt/zip.h src/ckpt/zip.c \
  src/ckpt/pt.h src/ckpt/pt.c src/ckpt/dcp.h src/ckpt/dcp_priv.h src/ckpt/dcp_meta.c src/ckpt/dcp_read.c \
  src/ckpt/dcp_write.c
EXTRA_DIST += src/ckpt/README.md
libreel_a_SOURCES += src/ckpt/names.h src/ckpt/names.c src/ckpt/hf.h src/ckpt/hf.c src/ckpt/hf_load.c src/ckpt/adapters.h src/ckpt/adapters.c
libreel_a_SOURCES += src/ckpt/ckpt.h src/ckpt/ckpt_priv.h src/ckpt/ckpt_plan.c src/ckpt/ckpt_remove.c src/ckpt/ckpt_val.c \
  src/ckpt/ckpt_task.c src/ckpt/ckpt_marker.c \
  src/ckpt/ckpt_write.c src/ckpt/ckpt_commit.c src/ckpt/ckpt_save.c src/ckpt/ckpt_find.c src/ckpt/ckpt_load.c src/ckpt/ckpt_once.c src/ckpt/ckpt_check.c
libreel_a_SOURCES += src/ckpt/tree.h src/ckpt/tree.c src/ckpt/export.h src/ckpt/export_priv.h src/ckpt/import.h src/ckpt/import.c src/ckpt/export.c src/ckpt/export_lora.c
