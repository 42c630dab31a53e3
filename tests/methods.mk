# the methods as a whole
EXTRA_DIST += tests/golden/dfsft tests/golden/dfsft-bidirectional tests/golden/tfsft tests/golden/dmd2-data tests/golden/dmd2-parity \
  tests/golden/dmd2-simulate tests/golden/self-forcing tests/golden/self-forcing-ode tests/golden/self-forcing-parity \
  tests/golden/self-forcing-window
dist_check_SCRIPTS += tests/t_causal.sh
check_PROGRAMS += tests/t_method tests/t_method_np2
tests_t_method_SOURCES = tests/t_method.c
tests_t_method_np2_SOURCES = tests/t_method.c
dist_check_SCRIPTS += tests/t_forcing.sh tests/t_dmd2.sh tests/t_self_forcing.sh
EXTRA_DIST += tests/tiny_forcing.yaml tests/tiny_dmd2.yaml tests/tiny_self_forcing.yaml
