# tests/apps/quickjs_test.sh: QuickJS-NG from PyPI, a reactor, linked to a small command (tests/apps/quickjs/main.wat): scripts, modules and
# files on the host, in memory and copied on write.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest quickjs
parts=$HUSK_SOURCE/tests/apps/quickjs
if ! command -v wat2wasm >/dev/null; then
    skip all "no wat2wasm (package wabt)"
    finish
fi
check "main.wat" wat2wasm "$parts/main.wat" -o "$scratch/main.wasm"
qjs() { # DIRECTORY ARGUMENT…: of the interpreter
    local dir=$1
    shift
    "$husk" run -O0 --link qjs="$guest" --dir "$dir" --dir "$parts::/scripts::ro" "$scratch/main.wasm" --std "$@" 2>&1
}
expected='42 /scripts/files.js|one|two three
hällo zwei null 12
"hällo\nzwei\n" 12
0 0 true
. .. folder . .. in.txt
null null
cannot read property '"'x'"' of null
1267650600228229401496703205376 3 abx 2024 1970-01-01T00:00:00.000Z'
mkdir "$scratch/work" "$scratch/below"
same "on the host" "$(qjs "$scratch/work::/work" -m /scripts/files.js one "two three")" "$expected"
same "on the host: what is there" "$(cat "$scratch/work/folder/in.txt")" "hällo
zwei"
same "in memory" "$(qjs mem::/work -m /scripts/files.js one "two three")" "$expected"
same "copied on write" "$(qjs "$scratch/below::/work::cow" -m /scripts/files.js one "two three")" "$expected"
same "copied on write: nothing below" "$(ls "$scratch/below")" ""
same "a text" "$(qjs mem::/work -e 'console.log([3, 1, 2].toSorted().join())')" "1,2,3"
got=$(qjs mem::/work -e 'function f() { throw new RangeError("oops"); } f()')
check "an exception: exit code" test $? -ne 0
contains "an exception" "$got" "RangeError: oops"
qjs mem::/work /scripts/nothing.js >"$scratch/out"
check "no such script" test $? -ne 0
finish
