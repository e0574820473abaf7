# tests/apps/strings_test.sh: the string functions of examples/guests/strings.c against loops over bytes (tests/apps/c/strings.c): the
# native C library, wasi-libc's own functions and those must agree, at two levels and in strict mode.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm

if ! clang=$("$HUSK_SOURCE/tools/find-llvm-tool" clang); then
    skip all "no clang"
    finish
fi
source=$HUSK_SOURCE/tests/apps/c/strings.c
wasm() { # OUT OPTION…
    local out=$1
    shift
    "$clang" --target=wasm32-wasi --sysroot=/usr -Wno-deprecated "$("$HUSK_SOURCE/tools/no-wasm-opt")" -O2 "$@" "$source" -o "$out"
}
check "builds natively" cc -w -O2 "$source" -o "$scratch/native"
"$scratch/native" >"$scratch/expected"
same "natively: the last line" "$(grep -c ' checks, ' "$scratch/expected")" 1
check "builds with strings.c" wasm "$scratch/strings.wasm" -msimd128 "$HUSK_SOURCE/examples/guests/strings.c"
check "builds without" wasm "$scratch/bytes.wasm"
for mode in -O2 -O0 --strict; do
    "$husk" run $mode "$scratch/strings.wasm" >"$scratch/got" 2>&1
    same_file "strings.c, $mode" "$scratch/got" "$scratch/expected"
done
"$husk" run "$scratch/bytes.wasm" >"$scratch/got" 2>&1
same_file "wasi-libc" "$scratch/got" "$scratch/expected"
# Else the two programs would be the same.
check "strings.c has replaced wasi-libc's" test "$(stat -c %s "$scratch/strings.wasm")" != "$(stat -c %s "$scratch/bytes.wasm")"
finish
