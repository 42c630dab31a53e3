#!/bin/sh
# Every rule of tests/lint.sh finds a planted violation, names its place, and leaves clean text alone.
# shellcheck source=tests/lib.sh
. "$REEL_SRC/tests/lib.sh"
lint=$REEL_SRC/tests/lint.sh
top=$TMPDIR/top
fresh() {
    rm -rf "$top"
    mkdir -p "$top/src/base" "$top/src/nn" "$top/src/comm" "$top/kernels/cpu" "$top/tests" "$top/.ci"
    printf '#!/bin/sh\nexit 0\n' > "$top/.ci/run"
    printf '#include "base/err.h"\n#include "be/be.h"\n/* MPI_Bcast() and getenv() in words */\nint x;\n' > "$top/src/nn/a.c"
    printf '#include <mpi.h>\nint f(void) { return MPI_Barrier(MPI_COMM_WORLD); }\n' > "$top/src/comm/b.c"
}
planted() { # planted FILE CONTENT WORDS: this content gives this finding, in this file
    fresh
    printf '%b' "$2" > "$top/$1"
    out=$(sh "$lint" "$top" 2>&1)
    rc=$?
    [ $rc -ne 0 ] && echo "$out" | grep -q "$1.*$3"
    verdict $? "$1: $3"
}

out=$(SHELLCHECK=none sh "$lint" "$REEL_SRC" 2>/dev/null)
verdict $? "this source has no findings${out:+: $(echo "$out" | head -n 5 | tr '\n' ';')}"
fresh
out=$(sh "$lint" "$top" 2>&1)
verdict $? "clean text passes${out:+ ($out)}"
planted src/base/up.c '#include "nn/layer.h"\n' "points up"
planted src/comm/up.h '#include "data/set.h"\n' "points up"
planted kernels/cpu/up.inc '#include "be/be.h"\n' "points up"
planted src/nn/mpi.c 'int f(void) { return MPI_Barrier(0); }\n' "MPI call"
planted src/nn/gpu.c '#include <cuda_runtime.h>\n' "CUDA include"
planted kernels/cpu/cores.c '#include <hwloc.h>\n' "hwloc outside"
planted src/nn/env.c 'char *f(void) { return getenv("HOME"); }\n' "getenv"
planted src/nn/later.c "int x; /* TO""DO: more */\n" "unfinished"
planted src/nn/utf.c 'char *s = "\0303\0244";\n' "ASCII"
fresh
touch "$top/tests/t_two.c" "$top/tests/t_one.c"
printf '#!/bin/sh\n' > "$top/tests/t_two.sh"
out=$(sh "$lint" "$top" 2>&1)
same "a script in the shadow of a program" "$(echo "$out" | grep -c 'only one')$(echo "$out" | grep -c '^tests/t_two.sh: ')" 11
fresh
mkdir -p "$top/src/methods"
printf 'METHODS = src/methods/one.c \\\n  src/methods/two2.c\nother = src/methods/three.c\n' > "$top/src/methods/local.mk"
echo 'REEL_EXPORT(REEL_KIND_METHOD, one);' > "$top/src/methods/one.c"
echo 'int x;' > "$top/src/methods/two2.c"
[ "$(sh "$lint" "$top")" = "src/methods/two2.c: does not end with REEL_EXPORT(REEL_KIND_..., name)" ]
verdict $? "a method that cannot be a plugin"
fresh
printf 'pub_HEADERS = src/base/p.h\n' > "$top/src/public.mk"
printf '#include "base/q.h"\n' > "$top/src/base/p.h"
sh "$lint" "$top" | grep -q 'src/base/p.h: base/q.h: includes a header that is not installed'
verdict $? "a header that plugins lack"
fresh
yes 'int x;' | head -n 801 > "$top/src/nn/long.c"
sh "$lint" "$top" | grep -q 'src/nn/long.c: 801 lines'
verdict $? "a file of 801 lines"
fresh
{ echo 'int long_one(void)'; echo '{'; yes '    ;' | head -n 61; echo '}'; } > "$top/src/nn/f.c"
out=$(sh "$lint" "$top" 2>&1)
rc=$?
[ $rc -eq 0 ] && echo "$out" | grep -q 'src/nn/f.c:2: long_one: 61 lines: warning'
verdict $? "a function of 61 lines is a warning"
if command -v git >/dev/null; then
    fresh
    git -C "$top" init -q && git -C "$top" add . 
    out=$(DISTFILES="x/src/nn x/src/comm/b.c" DIST_SRCDIR=x sh "$lint" "$top")
    [ "$(echo "$out" | grep 'make dist')" = ".ci/run: not in make dist, add it to EXTRA_DIST or a list of sources" ]
    verdict $? "a file that make dist forgets"
fi
plan
