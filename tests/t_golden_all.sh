#!/bin/sh
# Every golden folder on one rank, those that spread over ranks on two; and damaged copies, which must fail.
. "$REEL_SRC/tests/lib.sh"
golden() { ranks=$1; shift; "$REEL_BUILD/tests/mpirun.sh" -n "$ranks" "$REEL_BUILD/tests/golden" "$@"; }
g=$REEL_SRC/tests/golden

for kind in "$g"/*/kind "$g"/*/*/kind; do
    [ -f "$kind" ] || continue
    d=$(dirname "$kind")
    try "${d#"$g/"}" golden 1 "$d"
    grep -qs 'parity: fastvideo' "$d/config.yaml" && continue # some draws are one per group: other groups, other draws
    case $(cat "$kind") in method | adamw | hf-layout | draws | vsa | lora) try "${d#"$g/"} on two ranks" golden 2 "$d" ;; esac
done

# damaged FOLDER FILE: a copy with other last bytes in FILE must be noticed, in a line and in the exit code.
damaged() {
    copy=$TMPDIR/$(basename "$1")
    cp -R "$g/$1" "$copy" && chmod -R u+w "$copy"
    size=$(wc -c < "$copy/$2")
    printf AAAA | dd of="$copy/$2" bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
    golden 1 "$copy" > "$TMPDIR/out" 2>&1
    rc=$?
    if [ $rc -eq 1 ] && grep -q ' FAIL$' "$TMPDIR/out"; then ok "a damaged $1 fails"; else not_ok "a damaged $1 fails"; tail -n 5 "$TMPDIR/out" | sed 's/^/# /'; fi
    rm -rf "$copy"
}
damaged draws draws.safetensors
damaged schedules schedules.safetensors
damaged schedulers lr.safetensors
damaged adamw adamw.safetensors
damaged hf-layout pipeline/transformer/diffusion_pytorch_model.safetensors
damaged media grid_7.safetensors
damaged demo demo.safetensors
damaged dcp truth.safetensors
damaged sft expect.safetensors
damaged wan-dit/a case.safetensors
damaged vsa model.safetensors
cp -R "$g/wan-dit" "$TMPDIR/wan-dit" # the base of lora
chmod -R u+w "$TMPDIR/wan-dit"
damaged lora case.safetensors

mkdir "$TMPDIR/strange" && echo strange > "$TMPDIR/strange/kind"
golden 1 "$TMPDIR/strange" > "$TMPDIR/out" 2>&1
same "a folder of no known kind fails" "$?" 1
plan
