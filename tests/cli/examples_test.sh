# tests/cli/examples_test.sh: the example programs print what their comments promise.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
examples=$HUSK_BUILD/examples
[ -x "$examples/hello" ] || { skip all "the examples were not built"; finish; }
same "hello.c is short" "$(($(wc -l <"$HUSK_SOURCE/examples/hello.c") <= 60))" 1
same "host_function without a file" "$("$examples/host_function" 2>&1; echo $?)" "usage: host_function host_function.wasm
2"
need_kvm
same "hello" "$("$examples/hello")" "hello from a virtual machine: 19 + 23 = 42"
if ! [ -f "$examples/plugin.wasm" ]; then
    skip "host_function, plugin_host" "no clang with wasi-libc to compile their guests"
    finish
fi
same "host_function" "$("$examples/host_function" "$examples/host_function.wasm")" "guest says: adding up
3 apples and 4 pears: 4.50
plums: trap: there is no price for 'plum'
guest says: adding up
prices asked for: 5"
got=$("$examples/plugin_host" "$examples/plugin.wasm" "some text")
same "plugin_host: exit code" $? 0
contains "plugin_host: a good plug-in" "$got" "shout    SOME TEXT!
reverse  txet emos"
contains "plugin_host: one that crashes" "$got" "crash    ended: out of bounds memory access"
contains "plugin_host: one that lies" "$got" "lie      error: "
contains "plugin_host: one that never ends" "$got" "spin     ended: the call's time limit was reached"
same "plugin_host: a missing file" "$("$examples/plugin_host" nowhere.wasm x 2>&1)" "nowhere.wasm: cannot be read"
got=$(seq 1 500 | sed 's/^/request /' | "$examples/pool" "$examples/plugin.wasm" shout 4 2>"$scratch/latencies")
same "pool: exit code" $? 0
same "pool: every answer, in order" "$got" "$(seq 1 500 | sed 's/^/REQUEST /; s/$/!/')"
contains "pool: latencies" "$(cat "$scratch/latencies")" "500 requests, 0 failed; restore and call: 50% "
got=$(printf 'a\nb\n' | "$examples/pool" "$examples/plugin.wasm" spin 1 2>"$scratch/latencies")
same "pool: what never ends is ended, and the next request served" "$(printf '%s\n' "$got" | grep -c "error: the call's time limit")" 2
contains "pool: failures are counted" "$(cat "$scratch/latencies")" "2 requests, 2 failed"
finish
