# What plugins see of the program: headers below $(pkgincludedir), which their #include lines name as
# ours do, and reel.pc. A plugin is loaded only if it was built with the headers of this program: abi.h
# holds their checksum.
pub_basedir = $(pkgincludedir)/base
pub_base_HEADERS = src/base/arena.h src/base/err.h src/base/exact.h src/base/opt.h src/base/plugin.h \
  src/base/rng.h
pub_configdir = $(pkgincludedir)/config
pub_config_HEADERS = src/config/config.h src/config/env.h src/config/node.h src/config/pool.h src/config/schema.h
pub_commdir = $(pkgincludedir)/comm
pub_comm_HEADERS = src/comm/comm.h
pub_tensordir = $(pkgincludedir)/tensor
pub_tensor_HEADERS = src/tensor/tensor.h
pub_kernelsdir = $(pkgincludedir)/kernels
pub_kernels_HEADERS = kernels/kernels.h kernels/mask.h kernels/ops.def
pub_bedir = $(pkgincludedir)/be
pub_be_HEADERS = src/be/be.h src/be/ops.h
pub_datadir = $(pkgincludedir)/data
pub_data_HEADERS = src/data/draws.h
pub_nndir = $(pkgincludedir)/nn
pub_nn_HEADERS = src/nn/nn.h src/nn/params.h src/nn/schedule.h
pub_ckptdir = $(pkgincludedir)/ckpt
pub_ckpt_HEADERS = src/ckpt/io.h
pub_modelsdir = $(pkgincludedir)/models
pub_models_HEADERS = src/models/lora.h src/models/model.h src/models/sampler.h
pub_methodsdir = $(pkgincludedir)/methods
pub_methods_HEADERS = src/methods/method.h src/methods/check.h
pub_callbacksdir = $(pkgincludedir)/callbacks
pub_callbacks_HEADERS = src/callbacks/callback.h

PUBLIC = $(pub_base_HEADERS) $(pub_config_HEADERS) $(pub_comm_HEADERS) $(pub_tensor_HEADERS) $(pub_kernels_HEADERS) \
  $(pub_be_HEADERS) $(pub_data_HEADERS) $(pub_nn_HEADERS) $(pub_ckpt_HEADERS) $(pub_models_HEADERS) \
  $(pub_methods_HEADERS) $(pub_callbacks_HEADERS)

nodist_pub_base_HEADERS = src/base/abi.h
CLEANFILES += src/base/abi.h
src/base/abi.h: $(PUBLIC)
	$(AM_V_GEN)$(MKDIR_P) $(@D) && set -- `cat $^ | cksum` && echo "#define REEL_ABI $$1u" > $@
src/train/plugin.$(OBJEXT): src/base/abi.h

# folders that no one else writes into; what a site put there stays
uninstall-hook:
	-test ! -d "$(DESTDIR)$(pkgincludedir)" || find "$(DESTDIR)$(pkgincludedir)" -depth -type d -empty -exec rmdir {} \;

pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = reel.pc

# the manual shows the files that the tests build
man_MANS += reel-plugin.7
CLEANFILES += reel-plugin.7
EXTRA_DIST += src/reel-plugin.7.in
reel-plugin.7: src/reel-plugin.7.in tests/plugins/update_ratio.c tests/plugins/adversarial.c tests/plugins/patch_mlp.c \
  tests/plugins/patch_mlp/transformer/config.json
	$(AM_V_GEN)$(AWK) -v top=$(top_srcdir)/ -v version=$(PACKAGE_VERSION) ' \
	  /^@include / { \
	    print ".nf"; \
	    while ((getline s < (top $$2)) > 0) { \
	      gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); sub(/^[.]/, "\\\\\\&.", s); print s \
	    } \
	    print ".fi"; next } \
	  { sub(/RELEASE/, version); print }' $(srcdir)/src/reel-plugin.7.in > $@.tmp && mv $@.tmp $@
