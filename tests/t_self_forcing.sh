#!/bin/sh
# Self-Forcing as a program.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
tiny=$REEL_SRC/tests/tiny_self_forcing.yaml
roles="student teacher critic"
suite
plan
