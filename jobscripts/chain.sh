#!/usr/bin/env bash
# chain.sh [-n COUNT] SCRIPT [ARGUMENT...]: COUNT (default 4) jobs of a job script, one after the other, where jobs may not
# requeue themselves. Each goes on from the last checkpoint; the chain ends early when one of them finishes the run.
set -u
script=chain.sh
# shellcheck source=jobscripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
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
grep -q 'lib\.sh' "$job" || die "$job does not go on from what an earlier job left, as those that source lib.sh do"
command -v sbatch > /dev/null || die "no sbatch here: a chain is a matter of a batch system"
case " $* " in *" --dry-run "*) count=1 ;; esac
before='' # a job waits until none of those before it has finished the run; once one has, Slurm cancels the rest
for ((k = 1; k <= count; k++)); do
    # the script submits itself, after a look
    id=$(SBATCH_OPTS="$SBATCH_OPTS --parsable ${before:+--dependency=afternotok$before --kill-on-invalid-dep=yes}" REQUEUE=no CHAIN_LINK=$k \
        env -u SLURM_JOB_ID bash "$job" "$@") || die "$((k - 1)) jobs are in the queue"
    id=${id%%;*}
    case $id in '' | *[!0-9]*) echo "$id" && exit 0 ;; esac # a dry run
    say "job $id, $k of $count${before:+, if none of ${before#:} finishes the run}"
    before=$before:$id
done
