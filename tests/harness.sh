# tests/harness.sh: for test suites that are shell scripts (tests/<lane>/<suite>_test.sh), sourced by them:
#
#   . "$HUSK_SOURCE/tests/harness.sh"
#   check "prints its arguments" test "$(husk run args.wasm -- a b)" = "a b"
#   same "the answer" "$got" "$expected"
#   skip "reads a file" "no files yet"
#   finish
#
# tools/run-tests sets HUSK_SOURCE and HUSK_BUILD; a scratch folder ($scratch) is removed at the end.
export LC_ALL=C # what programs say is compared
unset CDPATH HUSK_CACHE_DIR HUSK_CACHE_LIMIT
: "${HUSK_SOURCE:=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}"
: "${HUSK_BUILD:=$HUSK_SOURCE/build}"
husk=$HUSK_BUILD/husk
suite=$(basename "$0" _test.sh)
scratch=$(mktemp -d)
passed=0 failed=0 skipped=0
trap 'rm -rf "$scratch"' EXIT
# No test leaves jobs behind, or depends on whether one has ended (tests/cli/background_test.sh sets this back).
export HUSK_BACKGROUND=0
export XDG_CACHE_HOME=$HUSK_BUILD/test-cache

pass() {
    passed=$((passed + 1))
}

fail() { # NAME TEXT
    failed=$((failed + 1))
    printf '%s: %s: %s\n' "$suite" "$1" "$2"
}

skip() { # NAME REASON
    skipped=$((skipped + 1))
    printf 'skipped: %s: %s\n' "$1" "$2"
}

check() { # NAME COMMAND…: succeeds
    local name=$1
    shift
    if "$@"; then pass; else fail "$name" "failed: $*"; fi
}

same() { # NAME GOT EXPECTED
    if [ "$2" = "$3" ]; then pass; else fail "$1" "got: $(head -c 2000 <<<"$2")
    expected: $(head -c 2000 <<<"$3")"; fi
}

same_file() { # NAME GOT EXPECTED: the lines that differ are shown
    local lines
    if lines=$(diff "$3" "$2" 2>&1); then pass; else fail "$1" "expected <, got >:
$(head -n 30 <<<"$lines" | head -c 2000)"; fi
}

contains() { # NAME TEXT PART
    case $2 in
    *"$3"*) pass ;;
    *) fail "$1" "no \"$3\" in: $(head -c 2000 <<<"$2")" ;;
    esac
}

finish() {
    echo "$suite: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
    exit
}

# Ends the suite with everything skipped unless there is a usable /dev/kvm.
need_kvm() {
    if ! [ -r /dev/kvm ] || ! [ -w /dev/kvm ]; then
        skip all "no usable /dev/kvm"
        finish
    fi
}

# Ends the suite with what is left of it skipped unless there is wat2wasm.
need_wat2wasm() { # [NAME]: of what is skipped
    command -v wat2wasm >/dev/null && return
    skip "${1:-all}" "no wat2wasm (package wabt) to make modules with"
    finish
}

# Ends the suite with all of it skipped unless the build folder is one to install from.
need_installable() {
    if ! [ -f "$HUSK_BUILD/install/libhusk_compile.a" ]; then
        skip all "the build folder has no libraries to install"
        finish
    fi
    grep -qs '^HUSK_SANITIZE:STRING=.' "$HUSK_BUILD/CMakeCache.txt" || return 0
    skip all "a sanitizer build is not for installing"
    finish
}

# The suite's files, and its cache of images, are in the scratch folder.
in_scratch() {
    export HUSK_CACHE_DIR=$scratch/cache
    cd "$scratch" || exit 1
}

# Builds a guest program from tools/build-guests and sets $guest; ends the suite, skipped, where sources cannot be had.
need_guest() { # NAME
    local log=$scratch/guest.log
    "$HUSK_SOURCE/tools/build-guests" "$HUSK_BUILD" "$1" >"$log" 2>&1
    case $? in
    0) ;;
    77)
        skip all "$(tail -n 1 "$log")"
        finish
        ;;
    *)
        fail "building $1" "$(tail -n 20 "$log")"
        finish
        ;;
    esac
    guest=$HUSK_BUILD/guests/$1.wasm
}
