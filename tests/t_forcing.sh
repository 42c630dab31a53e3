#!/bin/sh
# Diffusion forcing and teacher forcing on a causal student as programs.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
tiny=$REEL_SRC/tests/tiny_forcing.yaml
suite
dfsft=$su_want
suite --method._target_ tfsft
[ "$dfsft" != "$su_want" ]
verdict $? "teacher forcing is something else"
plan
