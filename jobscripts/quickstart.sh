#!/usr/bin/env bash
# quickstart.sh [ARGUMENT...]: set up this machine, then train a small video model on clips that the
# program draws itself: no GPU, weights or data set needed. Arguments go to `reel train`.
set -euo pipefail
src=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$src/jobscripts/setup.sh"
cd "$src"

# Containers may have no /dev/shm, or a tiny one: then MPI must not put its shared memory there.
shm_mib=$(df --output=avail -B1M /dev/shm 2>/dev/null | tail -n 1)
if [ ! -w /dev/shm ] || [ "${shm_mib:-0}" -lt 64 ]; then
    echo "quickstart: /dev/shm is not usable, MPI uses System V shared memory" >&2
    export UCX_TLS="${UCX_TLS-self,sysv,cma}"
fi
export UCX_LOG_LEVEL="${UCX_LOG_LEVEL-error}" UCX_WARN_UNUSED_ENV_VARS=n
exec mpiexec.mpich -n 2 build/reel train --config configs/sft_demo.yaml --training.distributed.num_gpus 2 \
    --training.distributed.hsdp_shard_dim 2 --training.data.train_batch_size 16 "$@"
