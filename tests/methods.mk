# the methods as a whole
EXTRA_DIST += tests/golden/dfsft-bidirectional tests/golden/dmd2-data tests/golden/dmd2-parity tests/golden/dmd2-simulate
