#!/bin/sh
# DMD2 as a program, simulated and on data.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
tiny=$REEL_SRC/tests/tiny_dmd2.yaml
roles="student teacher critic"
suite
[ "$(grep -c '"update_student": *1[,}.]' "$TMPDIR"/one/tracker/*.jsonl)" = 3 ]
verdict $? "the student is updated in three of six steps"
grep -q '"lr/critic"' "$TMPDIR"/one/tracker/*.jsonl
verdict $? "the critic's rate is logged"
suite --method.rollout_mode data_latent
plan
