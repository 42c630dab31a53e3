libreel_a_SOURCES += src/comm/comm.h src/comm/comm_priv.h src/comm/comm.c src/comm/yield.c src/comm/agree.c \
  src/comm/coll.c src/comm/file.c src/comm/inflight.c src/comm/wait.c src/comm/mesh.c src/comm/watch.h src/comm/watch.c src/comm/pulse.h src/comm/pulse.c src/comm/stop.h src/comm/stop.c
EXTRA_DIST += src/comm/README.md
