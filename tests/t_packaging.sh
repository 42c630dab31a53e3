#!/bin/bash
# shellcheck shell=bash
case ${BASH_VERSION:-sh}:$SHELLOPTS in sh:* | *posix*) exec bash "$0" ;; esac
# What packaging/ holds, as far as this machine has the programs for it.
. "$REEL_SRC/tests/lib.sh"
p=$REEL_SRC/packaging
top=$TMPDIR/opt/reel/1.0

# ---- make install, and the module over it
try "make install" make -s -C "$REEL_BUILD" install prefix="$top" module_PROGRAMS= module_DATA=
for f in bin/reel share/man/man1/reel.1 share/bash-completion/completions/reel lib/pkgconfig/reel.pc; do
    [ -s "$top/$f" ]
    verdict $? "$f"
done
for page in man1/reel.1 man7/reel-plugin.7; do
    command -v groff > /dev/null || { skip "$page" "groff is not installed"; continue; }
    groff -man -Tutf8 -ww -z "$top/share/man/$page" > "$TMPDIR/err" 2>&1
    [ ! -s "$TMPDIR/err" ]
    verdict $? "$page: no warning" "$TMPDIR/err"
done
lmod=/usr/share/lmod/lmod/init/bash
if [ -r "$lmod" ]; then
    mkdir -p "$TMPDIR/modules/reel"
    sed "s|\"/opt/reel/\"|\"$TMPDIR/opt/reel/\"|" "$p/modulefiles/reel.lua" > "$TMPDIR/modules/reel/1.0.lua"
    # shellcheck source=/dev/null
    . "$lmod" > "$TMPDIR/lmod" 2>&1
    module use "$TMPDIR/modules" && module load reel/1.0 2> "$TMPDIR/err"
    verdict $? "module load" "$TMPDIR/err"
    same "PATH" "$top/bin/reel" "$(command -v reel)"
    same "REEL, for the job scripts" "$top/bin/reel" "$REEL"
    same "the program starts" "$("$REEL_BUILD/reel" --version)" "$(reel --version)"
    same "pkg-config" "$top/lib/pkgconfig" "$(pkg-config --variable=pcfiledir reel)"
    case :$MANPATH: in *":$top/share/man:"*) ok "MANPATH" ;; *) not_ok "MANPATH: $MANPATH" ;; esac
    case :$XDG_DATA_DIRS: in *":$top/share:"*) ok "completion" ;; *) not_ok "XDG_DATA_DIRS: $XDG_DATA_DIRS" ;; esac
    module help reel > "$TMPDIR/help" 2>&1
    grep -q "man reel" "$TMPDIR/help"
    verdict $? "module help" "$TMPDIR/help"
    module unload reel
    case $PATH in *"$top"*) not_ok "module unload: $PATH" ;; *) same "module unload" unset "${REEL-unset}" ;; esac
else
    skip "the module" "lmod is not installed (tests/packages.txt)"
fi

# ---- make uninstall
try "make uninstall" make -s -C "$REEL_BUILD" uninstall prefix="$top" module_PROGRAMS= module_DATA=
same "leaves no file, and no folder of headers" "0 no" "$(find "$top" ! -type d | wc -l) $([ -d "$top/include/reel" ] && echo a folder || echo no)"

# ---- the recipe, with stand-ins for what Spack brings
if command -v python3 > /dev/null; then
    for spack in 0 1; do
        try "spack $spack: configure's arguments" python3 - "$p/spack/package.py" $spack << 'EOF'
import sys, types
seen = {"depends_on": [], "version": [], "variant": []}
def directive(name):
    return lambda *a, **k: seen.setdefault(name, []).append(a[0] if a else None)
class Node:
    def __init__(self, **k): self.__dict__.update(k)
class Spec:
    def __init__(self, cuda): self.cuda, self.variants = cuda, {"cuda_arch": Node(value=("80", "90"))}
    def __getitem__(self, n):
        prefix = Node(bin="/x/%s/bin" % n)
        prefix.__class__.__str__ = lambda s: "/x/" + n
        return Node(mpicc="/x/bin/mpicc", prefix=prefix, headers=Node(cpp_flags="-I/x/hdf5"), libs=Node(ld_flags="-L/x -lhdf5"))
    def satisfies(self, what): return what == "+cuda" and self.cuda
class Base:
    def enable_or_disable(self, n): return ["--disable-" + n]
m = types.ModuleType("spack.package")
for n in ("version", "variant", "conflicts", "depends_on"):
    setattr(m, n, directive(n))
bases = {"autotools": ("AutotoolsPackage", Base), "cuda": ("CudaPackage", type("CudaPackage", (), {}))}
for module, (name, base) in bases.items():  # where Spack 0.x and Spack 1.x have them
    here = m if sys.argv[2] == "0" else types.ModuleType(module)
    setattr(here, name, base)
    for package in "spack_repo", "spack_repo.builtin", "spack_repo.builtin.build_systems", "spack_repo.builtin.build_systems." + module:
        if here is not m: sys.modules[package] = here
m.join_path = lambda *a: "/".join(str(x) for x in a)
m.run_after = m.on_package_attributes = lambda *a, **k: lambda f: f
m.__all__ = [n for n in dir(m) if not n.startswith("_")]
sys.modules["spack"], sys.modules["spack.package"] = types.ModuleType("spack"), m
scope = {}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), scope)
for cuda in (False, True):
    r = scope["Reel"]()
    r.spec = Spec(cuda)
    args = r.configure_args()
    assert args[0] == "MPICC=/x/bin/mpicc" and args[1] == "MPIEXEC=/x/mpi/bin/mpiexec" and "HDF5_LIBS=-L/x -lhdf5" in args, args
    assert ("--with-cuda-arch=80 90" in args) == cuda and ("--without-cuda" in args) == (not cuda), args
assert {"0.1.0", "develop"} == set(seen["version"]), seen
EOF
    done
    missing=
    for lib in hdf5 libyaml hwloc openblas jansson zlib libpng sentencepiece ffmpeg mpich; do # what configure looks for
        grep -q "depends_on(\"$lib" "$p/spack/package.py" || missing="$missing $lib"
    done
    if [ -z "$missing" ]; then ok "spack: every library of configure"; else not_ok "spack: no$missing"; fi
else
    skip "spack" "python3 is not installed"
fi
same "spack: this version" "$("$REEL_BUILD/reel" --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/')" "$(sed -n 's/.*version("\([0-9.]*\)").*/\1/p' "$p/spack/package.py")"

# ---- the container: a shell can read its sections
sed -n '/^%post/,/^%environment/p' "$p/apptainer/reel.def" | sed '1d;$d' > "$TMPDIR/post"
try "apptainer: %post" sh -n "$TMPDIR/post"
grep -q "jobscripts/packages.txt" "$TMPDIR/post"
verdict $? "apptainer: packages from the one list"

# ---- ReFrame
if command -v reframe > /dev/null; then
    cd "$TMPDIR" || exit 1
    REEL=$REEL_BUILD/reel
    export REEL
    try "reframe: it runs" reframe -C "$p/reframe/settings.py" -c "$p/reframe/reel_check.py" -r
else
    skip "reframe" "not installed (pip install reframe-hpc)"
fi
plan
