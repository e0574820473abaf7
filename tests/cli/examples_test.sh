# tests/cli/examples_test.sh: the example programs print what their comments promise.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
examples=$HUSK_BUILD/examples
[ -x "$examples/hello" ] || { skip all "the examples were not built"; finish; }
check "hello.c has at most 35 lines of code" test "$(grep -c -v -E '^( \*|/\*|$)' "$HUSK_SOURCE/examples/hello.c")" -le 35
same "host_function without a file" "$("$examples/host_function" 2>&1; echo $?)" "usage: host_function host_function.wasm
2"
same "run_script without a script" "$("$examples/run_script" nowhere.wasm 2>&1; echo $?)" "usage: run_script [-n TIMES] script.wasm|.husk SCRIPT…
2"
same "warm without a file" "$("$examples/warm" 2>&1 </dev/null; echo $?)" "usage: warm SNAPSHOT.husk [TIMES [FUNCTION]] <request
2"
same "sessions: without a VM" "$("$examples/sessions" 0 2>&1 </dev/null; echo $?)" "usage: sessions [VMS] <lines of a name and a number
2"
need_kvm
same "hello" "$("$examples/hello")" "hello from a virtual machine: 19 + 23 = 42"
same "exceptions" "$("$examples/exceptions")" "estimate of 0 and 1: 370
estimate of 0 and 9: 120
total of 0 and 1: 370
total of 0 and 9: unknown_article: 9"
same "sessions" "$(printf 'ann 3\nbob 10\nann 4\n' | "$examples/sessions")" "ann 3
bob 10
ann 7
2 sessions, 2 VMs"
same "sessions: many, with few VMs" "$(for i in 1 2 3; do seq 1 60 | sed "s/.*/user& $((i * 100))/"; done | "$examples/sessions" 2 | tail -n 61 |
    sort | uniq -c -f 1 | sed 's/^ *//; s/user[0-9]* /USER /')" "1 60 sessions, 2 VMs
60 USER 600"
if ! [ -f "$examples/plugin.wasm" ]; then
    skip "host_function, plugin_host" "no clang with wasi-libc to compile their guests"
    finish
fi
same "warm: a line, from a program that stands at its input" "$("$husk" snapshot "$examples/answer.wasm" --until stdin -o "$scratch/answer.husk" &&
    echo 100 | "$examples/warm" "$scratch/answer.husk" 20 2>"$scratch/times")" 101
contains "warm: times" "$(cat "$scratch/times")" "20 requests: median "
same "warm: a missing file" "$("$examples/warm" nowhere.husk 2>&1 </dev/null; echo $?)" "nowhere.husk: cannot be read
1"
contains "warm: a module that does not stand" "$(echo 100 | "$examples/warm" "$examples/answer.wasm" 2>&1; echo $?)" "no call of the sandbox is pending
1"
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
got=$("$examples/udf" "$examples/udf.wasm")
same "udf: exit code" $? 0
same "udf: a thousand rows a call, or one" "$(printf '%s\n' "$got" | sed -E 's/; [0-9.]+ ns a row$//')" \
    "1000 rows a call: a batch's totals are 9779.58
   1 rows a call: a batch's totals are 9779.58
1000 calls at once: a batch's totals are 9779.58"
check "udf: many rows, or calls, in one entry cost less: $got" \
    awk '{ ns[NR] = $(NF - 3) } END { exit !(ns[1] * 5 < ns[2] && ns[3] * 5 < ns[2]) }' <<<"$got"
same "udf: a missing file" "$("$examples/udf" nowhere.wasm 2>&1; echo $?)" "nowhere.wasm: cannot be read
1"
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
contains "pool: a function of another type" "$("$examples/pool" "$examples/plugin.wasm" malloc 2>&1 </dev/null; echo $?)" "pool: malloc is no function from bytes to bytes"
for port in 65536 99999999999999999999 x "" -1 1x http; do
    contains "pool: port '$port'" "$("$examples/pool" "$examples/plugin.wasm" shout 1 "127.0.0.1:$port" 2>&1 </dev/null; echo $?)" "the port must be a number from 0 to 65535"
done
contains "pool: for this machine alone" "$("$examples/pool" "$examples/plugin.wasm" shout 1 0.0.0.0:0 2>&1 </dev/null)" "only this machine may"
: >"$scratch/file"
contains "pool: not in a file's place" "$("$examples/pool" "$examples/plugin.wasm" shout 1 "$scratch/file" 2>&1 </dev/null)" "it is in use, or no socket"

# Images, and snapshots, which are not initialised again.
"$husk" compile "$examples/plugin.wasm" -o "$scratch/plugin.husk"
"$husk" snapshot "$examples/plugin.wasm" -o "$scratch/ready.husk"
for image in plugin ready; do
    same "pool: $image.husk" "$(echo word | "$examples/pool" "$scratch/$image.husk" shout 1 2>/dev/null)" "WORD!"
done
printf X | dd of="$scratch/ready.husk" bs=1 seek=$(($(stat -c %s "$scratch/ready.husk") - 1)) conv=notrunc 2>/dev/null
contains "pool: a damaged snapshot" "$("$examples/pool" "$scratch/ready.husk" shout 1 2>&1 </dev/null; echo $?)" "hash"
same "plugin_host: an image" "$("$examples/plugin_host" "$scratch/plugin.husk" word | head -n 1)" "shout    WORD!"
if command -v wat2wasm >/dev/null; then
    # Every _initialize adds an "i" to the answer; a snapshot's was the only one.
    cat >"$scratch/count.wat" <<'WAT'
(module (memory (export "memory") 1) (global $n (mut i32) (i32.const 0))
  (func (export "_initialize") global.get $n i32.const 1 i32.add global.set $n
    (memory.fill (i32.const 0) (i32.const 105) (global.get $n)))
  (func (export "malloc") (param i32) (result i32) i32.const 1024)
  (func (export "how") (param i32 i32) (result i32 i32) i32.const 0 global.get $n)
  (func (export "i64") (param i64) (result i64) local.get 0)
  (func (export "third") (param i32 i32 i32) (result i64) i64.const 0)
  (func (export "f64") (param i32 i32) (result i32 f64) i32.const 0 f64.const 0)
  (func (export "none") (param i32 i32)))
WAT
    wat2wasm "$scratch/count.wat" -o "$scratch/count.wasm"
    "$husk" snapshot "$scratch/count.wasm" -o "$scratch/count.husk"
    for file in count.wasm count.husk; do
        same "pool: $file is initialised once" "$(echo | "$examples/pool" "$scratch/$file" how 1 2>/dev/null)" "i"
    done
    for function in i64 third f64 none _initialize; do
        contains "pool: the type of $function" "$("$examples/pool" "$scratch/count.wasm" $function 2>&1 </dev/null; echo $?)" "is no function from bytes to bytes"
    done
    # A program that copies standard input to standard output, once: it shortens its own vector. What starts with x is an error.
    cat >"$scratch/echo.wat" <<'WAT'
(module (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\10\00\00\00\64\00\00\00")
  (func (export "_start") (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (if (i32.eq (i32.load8_u (i32.const 16)) (i32.const 120))
      (then (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8))) (call $exit (i32.const 3))))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
WAT
    wat2wasm "$scratch/echo.wat" -o "$scratch/echo.wasm"
    seq 1 1000 | sed 's/^/request /' >"$scratch/requests"
    "$examples/pool" "$scratch/echo.wasm" _start 4 <"$scratch/requests" >"$scratch/answers" 2>"$scratch/latencies"
    same "pool: a program: exit code" $? 0
    check "pool: a program with its own streams for each request" cmp "$scratch/requests" "$scratch/answers"
    contains "pool: a program" "$(cat "$scratch/latencies")" "1000 requests, 0 failed"
    same "pool: a program that fails" "$(printf 'x y\nz\n' | "$examples/pool" "$scratch/echo.wasm" _start 1 2>"$scratch/err")" "error: exit code 3
z"
    contains "pool: a program that fails: what it says" "$(cat "$scratch/err")" "x y"
    "$husk" snapshot "$scratch/echo.wasm" -o "$scratch/echo.husk"
    same "pool: a program's snapshot" "$(echo word | "$examples/pool" "$scratch/echo.husk" _start 1 2>/dev/null)" "word"
else
    skip "pool: initialised once, programs" "no wat2wasm (package wabt)"
fi

# Answers that cannot be written: why, and exit code 1.
echo word | "$examples/pool" "$examples/plugin.wasm" shout 1 2>"$scratch/err" >/dev/full
same "pool: a full disk: exit code" $? 1
contains "pool: a full disk" "$(cat "$scratch/err")" "pool: the answers cannot be written: No space left on device"
echo word | "$examples/pool" "$examples/plugin.wasm" shout 1 2>"$scratch/err" >&-
same "pool: closed output: exit code" $? 1
contains "pool: closed output" "$(cat "$scratch/err")" "pool: the answers cannot be written: Bad file descriptor"

# Serves in the background at $1 until it is told to end; what it prints is in $scratch/served.
pool_start() {
    : >"$scratch/served" # no "listening at" of the one before
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
