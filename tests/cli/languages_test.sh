# tests/cli/languages_test.sh: husk.h suits other languages: the programs in examples/go and examples/rust are built against an installation, and
# call a guest. Where their compilers are not, they are skipped.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
export HUSK_CACHE_DIR=$scratch/cache
need_installable
for program in wat2wasm pkg-config; do command -v $program >/dev/null || { skip all "no $program"; finish; }; done
need_kvm
rm -f "$HUSK_BUILD/install_manifest.txt" # of another user, after sudo make install
check "install" cmake --install "$HUSK_BUILD" --prefix "$scratch/prefix" >"$scratch/install.log"
lib=$(dirname "$(find "$scratch/prefix" -name libhusk.so)")
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
cd "$scratch" || exit 1
cat >next.wat <<'WAT'
(module (global $n (mut i32) (i32.const 0))
  (func (export "next") (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))
WAT
wat2wasm next.wat -o next.wasm
wat2wasm - -o trap.wasm <<<'(module (func (export "next") (result i32) unreachable))'
for name in next trap; do "$husk" compile $name.wasm -o $name.husk; done

# says PROGRAM: three calls, each of the instance as it was; errors are the library's
says() { # LANGUAGE PROGRAM
    same "$1: three calls" "$("$2" next.husk 2>&1; echo $?)" "1
1
1
0"
    contains "$1: a trap" "$("$2" trap.husk 2>&1; echo $?)" "unreachable"
    contains "$1: no such image" "$("$2" nowhere.husk 2>&1)" "nowhere.husk"
    "$2" nowhere.husk >/dev/null 2>&1
    same "$1: exit code" $? 1
    "$2" >/dev/null 2>&1
    same "$1: no image named" $? 2
}
cp -r "$HUSK_SOURCE/examples/go" "$HUSK_SOURCE/examples/rust" .
if command -v go >/dev/null; then
    export GOFLAGS=-mod=mod GOTOOLCHAIN=local GOCACHE=$scratch/go-cache
    (cd go && go vet . && go build -o ../in-go .) >go.log 2>&1 || fail "Go: build" "$(tail -n 20 go.log)"
    same "Go: format" "$(gofmt -l go)" ""
    says Go ./in-go
else
    skip Go "no go"
fi
if command -v rustc >/dev/null; then
    rustc -O -D warnings rust/next.rs -L "$lib" -o in-rust >rust.log 2>&1 || fail "Rust: build" "$(tail -n 20 rust.log)"
    check "Rust: husk_sys.rs has at most 100 lines" test "$(wc -l <rust/husk_sys.rs)" -le 100
    says Rust ./in-rust
else
    skip Rust "no rustc"
fi
finish
