#!/usr/bin/env bash
# setup.sh [BUILD-DIRECTORY [CONFIGURE-ARGUMENT...]]
#
# From a bare Debian or Ubuntu to a built program in BUILD-DIRECTORY (default: build/ in the source).
# Does only what is not done yet, so it may be run again; needs root or sudo only while packages
# (jobscripts/packages.txt, and those of the file in $REEL_PACKAGES) are missing.
set -euo pipefail
src=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${1:-$src/build}
[ $# -eq 0 ] || shift
say() { echo "setup: $*" >&2; }

apt() { # apt COMMAND [ARGUMENT...], as root; sudo would drop the environment, and with it the proxies
    local v e=(env DEBIAN_FRONTEND=noninteractive)
    [ "$(id -u)" -eq 0 ] || e=(sudo "${e[@]}")
    for v in http_proxy https_proxy no_proxy; do [ -z "${!v-}" ] || e+=("$v=${!v}"); done
    "${e[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null >&2
}

missing_packages() {
    local p
    # shellcheck disable=SC2013 # a list of names
    for p in $(grep -hv '^#' "$src/jobscripts/packages.txt" "${REEL_PACKAGES-/dev/null}"); do
        dpkg-query -W -f='${Status}\n' "$p" 2>/dev/null | grep -q '^install ok installed' || echo "$p"
    done
}

install_packages() {
    local want pause
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian system: what jobscripts/packages.txt names must be there by other means"
        return
    fi
    want=$(missing_packages)
    [ -n "$want" ] || return 0
    # shellcheck disable=SC2086 # one line
    say "installing" $want
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        say "neither root nor sudo: ask an administrator for the packages above"
        exit 1
    fi
    for pause in 5 15 60 0; do
        # shellcheck disable=SC2086 # a list of names
        if apt update && apt install -y --no-install-recommends $want; then return; fi
        [ $pause -ne 0 ] || break
        say "apt-get failed; again in $pause s" # a server's bad moment, or the system's own update, whose lists apt-get does not wait for
        sleep $pause
    done
    say "apt-get failed: without a network, or behind a proxy that http_proxy does not name? The packages above are needed"
    exit 1
}

make_configure() {
    [ ! -x "$src/configure" ] || [ "$src/configure.ac" -nt "$src/configure" ] || return 0
    say "making configure"
    local log
    log=$(cd "$src" && autoreconf -fi 2>&1) || { echo "$log" >&2; exit 1; }
}

# The arguments are kept beside the result: other arguments mean configuring again.
run_configure() {
    mkdir -p "$build"
    if [ -f "$build/Makefile" ] && [ "$(cat "$build/setup.args" 2>/dev/null)" = "$*" ]; then return 0; fi
    say "configuring in $build${*:+ with $*}"
    (cd "$build" && "$src/configure" -q "$@")
    echo "$*" > "$build/setup.args"
}

install_packages
make_configure
run_configure "$@"
say "compiling"
make -s -C "$build" -j"$(nproc)"
say "done: $build/reel"
