# tests/apps/clang_test.sh: clang 22 and lld, built for WASI, from npm: they compile and link programs in C and C++ inside a sandbox, and
# the results run in another one.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
if [ -z "${HUSK_LONG_APPS:-}" ]; then
    skip all "clang is 75 MB of wasm, some 3 minutes of CPU time to compile: set HUSK_LONG_APPS=1"
    finish
fi
need_guest clang
package=$("$HUSK_SOURCE/tools/fetch-package" "$HUSK_BUILD/guest-src" npm @yowasp/clang 22.0.0-git20542-10)
mkdir "$scratch/usr" "$scratch/work"
tar -xf "$package/package/gen/llvm-resources.tar" -C "$scratch/usr"
image=$scratch/clang.husk
if ! "$husk" compile -O0 "$guest" -o "$image" 2>"$scratch/err"; then
    fail compiles "$(cat "$scratch/err")"
    finish
fi

# The driver starts one compiler in the same process, but no linker.
in_husk() { # PROGRAM ARGUMENT…
    "$husk" run --no-verify --argv0 llvm --dir "$scratch/usr::/usr::ro" --dir mem::/tmp --dir "$scratch/work::/work" "$image" "$@" >"$scratch/said" 2>&1
}
linked() { # NAME: /work/NAME.o → /work/NAME.wasm
    in_husk wasm-ld -L/usr/lib/wasm32-wasip1 /usr/lib/wasm32-wasip1/crt1.o "/work/$1.o" -lc++ -lc++abi -lc \
        /usr/lib/wasm32-unknown-wasip1/libclang_rt.builtins.a -o "/work/$1.wasm"
}

contains "its version" "$(in_husk clang --version && cat "$scratch/said")" "clang version 22."
cp "$HUSK_SOURCE/tests/apps/c/files.c" "$HUSK_SOURCE/examples/guests/words.cpp" "$scratch/work"
printf 'int main(void) { return x; }\n' >"$scratch/work/wrong.c"

in_husk clang -w -O2 -c /work/files.c -o /work/files.o
same "C compiles" "$? $(cat "$scratch/said")" "0 "
linked files
same "C is linked" "$? $(cat "$scratch/said")" "0 "
mkdir "$scratch/native"
cc -w -O1 "$scratch/work/files.c" -o "$scratch/files"
"$scratch/files" "$scratch/native" >"$scratch/expected" 2>&1
"$husk" run --dir mem::/work "$scratch/work/files.wasm" /work >"$scratch/got" 2>&1
same_file "C runs as natively" "$scratch/got" "$scratch/expected"

in_husk clang++ -w -O2 -fno-exceptions -c /work/words.cpp -o /work/words.o
same "C++ compiles" "$? $(cat "$scratch/said")" "0 "
linked words
same "C++ is linked" "$? $(cat "$scratch/said")" "0 "
text=$HUSK_SOURCE/LICENSE
contains "C++ runs" "$("$husk" run "$scratch/work/words.wasm" <"$text" 2>&1)" \
    "$(wc -l <"$text" | tr -d ' ') lines, $(wc -w <"$text" | tr -d ' ') words"

in_husk clang -c /work/wrong.c -o /work/wrong.o
same "an error: exit code" $? 1
contains "an error" "$(cat "$scratch/said")" "wrong.c:1:25: error: use of undeclared identifier 'x'"
check "an error leaves no file" test ! -e "$scratch/work/wrong.o"
finish
