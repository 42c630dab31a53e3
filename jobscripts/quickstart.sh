#!/usr/bin/env bash
# quickstart.sh [ARGUMENT...]: set up this machine, then train a small video model on clips that the
# program draws itself: no GPU, weights or data set needed. Arguments go to `reel train`.
set -euo pipefail
src=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$src/jobscripts/setup.sh"
cd "$src"
exec mpiexec.mpich -n 2 build/reel train --config configs/sft_demo.yaml "$@"
