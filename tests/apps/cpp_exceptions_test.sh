# tests/apps/cpp_exceptions_test.sh: what C++ does with exceptions, in both encodings, against the same program built natively. libc++
# is built with exceptions from its sources by tools/build-cxx-exceptions.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
program=$HUSK_SOURCE/tests/apps/cpp/exceptions.cpp
"$HUSK_SOURCE/tools/build-cxx-exceptions" "$HUSK_BUILD" >"$scratch/log" 2>&1
case $? in
0) ;;
77)
    skip all "$(tail -n 1 "$scratch/log")"
    finish
    ;;
*)
    fail "libc++ builds" "$(tail -n 3 "$scratch/log")"
    finish
    ;;
esac
check "the native program builds" c++ -std=c++17 -O1 -w "$program" -o "$scratch/native"

is_legacy() {
    [ "$1" = legacy ] && echo true || echo false
}

for encoding in legacy exnref; do
    guest=$scratch/$encoding.wasm
    check "$encoding: builds" clang++-22 --target=wasm32-wasi --sysroot=/usr -w "$("$HUSK_SOURCE/tools/no-wasm-opt")" -std=c++17 -O2 \
        -fwasm-exceptions -mllvm "-wasm-use-legacy-eh=$(is_legacy $encoding)" "$program" -L "$HUSK_BUILD/guest-cxx/$encoding" -lunwind \
        -Wl,-z,stack-size=1048576 -o "$guest"
    for how in returns noexcept destructor; do
        "$scratch/native" $how >"$scratch/expected"
        expected=$?
        "$husk" run "$guest" $how >"$scratch/got" 2>"$scratch/got.err"
        same "$encoding, $how: exit code" "$? $(head -n 3 "$scratch/got.err")" "$expected "
        same_file "$encoding, $how" "$scratch/got" "$scratch/expected"
    done
    "$scratch/native" returns >"$scratch/expected"
    "$husk" run "$guest" uncaught >"$scratch/got" 2>"$scratch/got.err"
    same "$encoding, uncaught: exit code" $? 134
    same_file "$encoding, uncaught: what was before" "$scratch/got" "$scratch/expected"
    contains "$encoding, uncaught" "$(cat "$scratch/got.err")" "uncaught exception: tag 0"
    contains "$encoding, uncaught: the backtrace" "$(cat "$scratch/got.err")" "main at"
done
finish
