libreel_a_SOURCES += src/nn/schedule.h src/nn/schedule.c src/nn/nn.h src/nn/linear.c src/nn/share.c src/nn/tp.c src/nn/rope.c src/nn/vsa.c \
	src/nn/attention.c src/nn/ffn.c src/nn/cond.c src/nn/patch.c src/nn/head.c
libreel_a_SOURCES += src/nn/params.h src/nn/params_priv.h src/nn/params.c src/nn/gather.c src/nn/grads.c
EXTRA_DIST += src/nn/README.md
