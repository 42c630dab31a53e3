# the methods as a whole
EXTRA_DIST += tests/golden/dfsft tests/golden/dfsft-bidirectional tests/golden/tfsft tests/golden/dmd2-data tests/golden/dmd2-parity \
  tests/golden/dmd2-simulate tests/golden/self-forcing tests/golden/self-forcing-ode tests/golden/self-forcing-parity \
  tests/golden/self-forcing-window
dist_check_SCRIPTS += tests/t_causal.sh
