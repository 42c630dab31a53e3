#!/usr/bin/env bash
#SBATCH --job-name=preprocess
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=16
#SBATCH --cpus-per-task=1
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@60
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# Films and captions to one data set, MPI-parallel: sbatch jobscripts/preprocess.sh --videos DIR --captions FILE --output SET
# [ARGUMENT...] (reel preprocess --help). A job that is preempted, loses a node or ends in time goes on with what is finished
# (SET.unfinished): signals and exit codes are those of training. As an array (sbatch --array=0-7 ...) each task takes every
# eighth line of the captions (or of --prompts) and writes SET-K.h5; training.data.data_path then names their folder.
set -u
script=preprocess.sh
here=$(dirname "${BASH_SOURCE[0]}") # a job runs a copy; Slurm knows where the original is
[ -f "$here/lib.sh" ] || here=$(scontrol show job "${SLURM_JOB_ID-}" | sed -n '/^ *Command=/{s///;s/\.sh.*//;s|/[^/]*$||p;q}')
# shellcheck source=jobscripts/lib.sh
. "$here/lib.sh" || { echo "$script: no lib.sh beside it: submit it by its path" >&2 && exit 1; }
out='' captions='' videos='' flag=--captions dry='' args=()
while [ $# -gt 0 ]; do
    case $1 in --output=* | --captions=* | --prompts=* | --tensors=* | --model=* | --videos=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;; esac
    case $1 in
    --output) out=${2-} && shift ;;
    --captions) captions=$(resolve captions "${2-}") && shift || exit 1 ;;
    --prompts) captions=$(resolve prompts "${2-}") && flag=--prompts && shift || exit 1 ;;
    --tensors) tensors=$(resolve tensors "${2-}") && args+=(--tensors "$tensors") && shift || exit 1 ;;
    --model) # a folder, or a repository id
        if [ -e "$caller/${2-}" ]; then args+=(--model "$caller/$2"); else args+=(--model "${2-}"); fi
        shift
        ;;
    --videos) videos=$(resolve videos "${2-}") && args+=(--videos "$videos") && shift || exit 1 ;;
    --dry-run) dry=yes ;;
    *) args+=("$1") ;;
    esac
    shift
done
[ -n "$out" ] || die "--output SET is missing: sbatch jobscripts/$script --videos DIR --captions FILE --output SET"
[ "${out#/}" != "$out" ] || out=$caller/$out
program
if [ -n "${SLURM_ARRAY_TASK_ID-}" ]; then
    [ -n "$captions" ] || die "an array is cut by the lines of --captions FILE or --prompts FILE"
    end=captions # the pieces lie elsewhere; paths in them are still below the whole's folder
    [ -n "$videos" ] || [ $flag = --prompts ] || args+=(--videos "$(dirname "$captions")")
    case $captions in
    *.json | *.csv) die "an array is cut by lines: give captions as .jsonl or as lines of path<TAB>caption" ;;
    *.jsonl) end=captions.jsonl ;;
    esac
    out=${out%.h5}-$SLURM_ARRAY_TASK_ID.h5
    mkdir -p "$(dirname "$out")" || die "cannot make the folder of $out"
    # shellcheck disable=SC2153 # set by Slurm
    awk -v n="$SLURM_ARRAY_TASK_COUNT" -v k=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN)) '(NR - 1) % n == k' \
        "$captions" > "${out%.h5}.$end" || die "cannot write ${out%.h5}.$end"
    captions=${out%.h5}.$end
fi
[ -z "$captions" ] || args+=("$flag" "$captions")
args=(preprocess --output "$out" "${args[@]}")
if [ -n "$dry" ]; then
    would "${args[@]}"
    exit 0
fi
in_job || submit
note_start "$(stat -c %s "$out.unfinished"/part-* 2> /dev/null | awk '{ n += $1 } END { printf "%.0f", n }') bytes of clips"
run_ranks "${args[@]}"
conclude $?
