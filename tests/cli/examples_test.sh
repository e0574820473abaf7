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
contains "pool: latencies" "$(cat "$scratch/latencies")" "500 requests, 0 failed, 0 cut off; "
got=$(printf 'a\nb\n' | "$examples/pool" "$examples/plugin.wasm" spin 1 2>"$scratch/latencies")
same "pool: what never ends is ended, and the next request served" "$(printf '%s\n' "$got" | grep -c "error: the call's time limit")" 2
contains "pool: failures are counted" "$(cat "$scratch/latencies")" "2 requests, 2 failed, 2 cut off"
same "pool: a line without end" "$(head -c 3000000 /dev/zero | tr '\0' a | "$examples/pool" "$examples/plugin.wasm" shout 1 2>/dev/null)" "error: the request is too long"
same "pool: no such function" "$("$examples/pool" "$examples/plugin.wasm" nothing 2>&1 </dev/null; echo $?)" "pool: the module exports no function nothing
1"
same "pool: a missing file" "$("$examples/pool" nowhere.wasm shout 2>/dev/null </dev/null; echo $?)" 1
for threads in 0 65 x; do
    same "pool: $threads threads" "$("$examples/pool" "$examples/plugin.wasm" shout $threads 2>/dev/null </dev/null; echo $?)" 2
done
contains "pool: for this machine alone" "$("$examples/pool" "$examples/plugin.wasm" shout 1 0.0.0.0:0 2>&1 </dev/null)" "only this machine may"
: >"$scratch/file"
contains "pool: not in a file's place" "$("$examples/pool" "$examples/plugin.wasm" shout 1 "$scratch/file" 2>&1 </dev/null)" "it is in use, or no socket"

# Serves in the background at $1 until it is told to end; what it prints is in $scratch/served.
pool_start() {
    "$examples/pool" "$examples/plugin.wasm" shout 2 "$1" 2>"$scratch/served" </dev/null &
    pool_pid=$!
    until grep -q '^listening at ' "$scratch/served" || ! kill -0 $pool_pid 2>/dev/null; do
        sleep 0.05
    done
}
pool_end() {
    kill -TERM $pool_pid
    wait $pool_pid
}
pool_start 127.0.0.1:0
port=$(sed -n 's/^listening at 127.0.0.1://p' "$scratch/served")
exec 3<>"/dev/tcp/127.0.0.1/$port" 4<>"/dev/tcp/127.0.0.1/$port"
printf 'one\ntwo\n' >&3
printf 'cut o' >&4 # and gone, in the middle of a request
exec 4>&-
read -r -u 3 first
read -r -u 3 second
exec 3>&-
same "pool: answers over TCP" "$first $second" "ONE! TWO!"
pool_end
same "pool: ends when told to" $? 0
contains "pool: half a request is none" "$(cat "$scratch/served")" "2 requests, 0 failed"
pool_start "$scratch/socket"
kill -KILL $pool_pid
wait $pool_pid 2>/dev/null
same "pool: killed, its socket stays" "$([ -S "$scratch/socket" ]; echo $?)" 0
pool_start "$scratch/socket"
pool_end
same "pool: a socket that nobody listens at is replaced" $? 0
same "pool: its socket is removed" "$([ -e "$scratch/socket" ]; echo $?)" 1
finish
