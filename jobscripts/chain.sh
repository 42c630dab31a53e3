#!/usr/bin/env bash
# chain.sh [-n COUNT] SCRIPT [ARGUMENT...]: COUNT (default 4) jobs of a job script, one after the other, where jobs may not
# requeue themselves. Each goes on from the last checkpoint; the chain ends early when one of them finishes the run.
set -u
script=chain.sh
# shellcheck source=jobscripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
load_site
count=4
if [ "${1-}" = -n ]; then
    count=${2-}
    shift 2 || die "-n wants a number of jobs"
fi
case $count in '' | *[!0-9]* | 0) die "-n $count: a number of jobs from 1 on" ;; esac
[ $# -gt 0 ] || die "which job? chain.sh [-n COUNT] SCRIPT [ARGUMENT...]; scripts: $(cd "$jobscripts" && echo *_*.sh)"
job=$jobscripts/$1 # by its name alone, or by its path
[ -f "$job" ] || job=$(resolve "job script" "$1") || exit 1
shift
command -v sbatch > /dev/null || die "no sbatch here: a chain is a matter of a batch system"
after=()
for ((k = 1; k <= count; k++)); do
    # shellcheck disable=SC2086 # options are words
    id=$(REQUEUE=no sbatch --parsable $SBATCH_OPTS "${after[@]}" "$job" "$@") || die "sbatch failed; $((k - 1)) jobs are in the queue"
    id=${id%%;*}
    say "job $id, $k of $count${after[*]:+, ${after[0]}}"
    after=("--dependency=afternotok:$id" --kill-on-invalid-dep=yes) # 0: the run is finished, the rest is cancelled
done
