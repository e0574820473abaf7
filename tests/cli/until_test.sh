# tests/cli/until_test.sh: husk snapshot --until: where it stops, what is said if it does not, and what husk run and husk inspect make of
# the file.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
in_scratch
need_wat2wasm

# ask: writes "ready", counts itself, moves standard input to another number if there is a second argument; then reads (or polls, and then
# reads) and writes what it read, and its number of arguments. Exits with 7.
cat >ask.wat <<'WAT'
(module $ask
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "ready\0a")
  (global $fd (mut i32) (i32.const 0))
  (func $say (param $at i32) (param $count i32)
    (i32.store (i32.const 16) (local.get $at)) (i32.store (i32.const 20) (local.get $count))
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))))
  (func $digit (param $digit i32)
    (i32.store16 (i32.const 90) (i32.add (i32.const 0x0a30) (local.get $digit)))
    (call $say (i32.const 90) (i32.const 2)))
  (func $take (result i32)
    (i32.store (i32.const 0) (i32.const 200)) (i32.store (i32.const 4) (i32.const 1000))
    (drop (call $read (global.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.load (i32.const 8)))
  (func $wait
    (i64.store (i32.const 1300) (i64.const 0)) (i32.store8 (i32.const 1308) (i32.const 1))
    (i32.store (i32.const 1316) (global.get $fd))
    (drop (call $poll (i32.const 1300) (i32.const 1400) (i32.const 1) (i32.const 1500))))
  (func $count (result i32) (drop (call $args (i32.const 40) (i32.const 44))) (i32.load (i32.const 40)))
  (func $start (export "_start")
    (local $args i32)
    (local.set $args (call $count))
    (call $say (i32.const 100) (i32.const 6))
    (if (i32.eq (local.get $args) (i32.const 2)) (then
      (drop (call $renumber (i32.const 0) (i32.const 2))) (global.set $fd (i32.const 2)) (call $wait)))
    (call $say (i32.const 200) (call $take))
    (call $digit (call $count))
    (drop (call $environ (i32.const 40) (i32.const 44))) (call $digit (i32.load (i32.const 40)))
    (call $exit (i32.const 7)))
  (func (export "sum") (param i32) (result i32)
    (drop (call $take)) (i32.add (local.get 0) (i32.load8_u (i32.const 200))))
  (func (export "tty") (result i32) (drop (call $fdstat (i32.const 1) (i32.const 600))) (i32.load8_u (i32.const 600)))
  (func (export "fails") unreachable)
  (func (export "early") (result i32) i32.const 5)
  (func (export "exits") (call $say (i32.const 100) (i32.const 6)) (call $exit (i32.const 3)))
  (func (export "exits_well") (call $exit (i32.const 0)))
  (func (export "spin") (loop br 0)))
WAT
wat2wasm --debug-names ask.wat -o ask.wasm
same "husk run has no --until" "$("$husk" run --until stdin ask.wasm 2>/dev/null; echo $?)" 2
for option in --terminals "--until stdin" "--output x.husk"; do
    contains "husk run has no $option" "$("$husk" run $option ask.wasm 2>&1)" "bad option '${option% *}': it is one of husk snapshot"
done
same "--until wants a word" "$("$husk" snapshot ask.wasm --until 2>/dev/null; echo $?)" 2
contains "not a name" "$("$husk" snapshot ask.wasm --until 'a\x' 2>&1)" "is not a name as husk inspect prints them"
need_kvm

# ---- Where it stops ----

same "at a read: silent, but for the program" "$("$husk" snapshot ask.wasm --until stdin -o read.husk </dev/null 2>&1; echo $?)" "ready
0"
same "goes on" "$(printf 'one\n' | "$husk" run read.husk; echo $?)" "one
1
0
7"
same "goes on again, from the same place" "$(printf 'two\n' | "$husk" run read.husk; echo $?)" "two
1
0
7"
same "without a name: in the current folder" "$(mkdir sub && cd sub && "$husk" snapshot ../ask.wasm --until stdin </dev/null && ls)" "ready
ask.warm.husk"
same "standard input is not read" "$(printf 'kept\n' | { "$husk" snapshot ask.wasm --until stdin -o x.husk >/dev/null; cat; })" kept
same "at a poll, under another number" "$("$husk" snapshot ask.wasm --until stdin -o poll.husk 2>&1 -- word)" ready
contains "at a poll: inspect" "$("$husk" inspect poll.husk)" "stands_at       wasi_snapshot_preview1.poll_oneoff"
same "at a poll: goes on, with its arguments" "$(printf 'three\n' | "$husk" run poll.husk)" "three
2
0"
same "at an import" "$("$husk" snapshot ask.wasm --until wasi_snapshot_preview1.fd_write -o write.husk; echo $?)" 0
same "at an import: nothing was done" "$(printf 'four\n' | "$husk" run write.husk)" "ready
four
1
0"
same "on from there to the next place" "$("$husk" snapshot write.husk --until stdin -o later.husk; echo $?)" "ready
0"
same "on from there" "$(printf 'five\n' | "$husk" run later.husk)" "five
1
0"
same "in a function" "$("$husk" snapshot ask.wasm --invoke sum 5 --until stdin -o sum.husk; echo $?)" 0
same "in a function: its result" "$(printf 'A' | "$husk" run sum.husk)" "70:i32"
same "in a function: its result in JSON" "$(printf 'A' | "$husk" run --json sum.husk)" '{"outcome":"returned","results":[{"type":"i32","value":70}]}'
got=$("$husk" run --json read.husk 2>&1 </dev/null)
same "in JSON, in a program: exit code" $? 2
contains "in JSON, in a program" "$got" "--json goes with --invoke"
same "at the end of input" "$("$husk" run read.husk </dev/null)" "1
0"
for level in 0 2; do
    "$husk" snapshot ask.wasm -O $level --until stdin -o level.husk >/dev/null
    same "at level $level" "$(printf 'x\n' | "$husk" run level.husk | head -n 1)" x
done
same "with a time limit" "$(sleep 10 | "$husk" run --timeout 300ms read.husk 2>/dev/null; echo "${PIPESTATUS[1]}")" 124

# poll: waits for a clock, for standard input and a clock; reads no bytes, at a position, and from a file that has the number 0.
cat >poll.wat <<'WAT'
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 2000) "kept")
  ;; subscriptions at 1000: 20 ms of the monotonic clock, and data of descriptor 0
  (func $wait (param $count i32) (result i32)
    (i32.store8 (i32.const 1008) (i32.const 0)) (i32.store (i32.const 1016) (i32.const 1)) (i64.store (i32.const 1024) (i64.const 20000000))
    (i32.store8 (i32.const 1056) (i32.const 1)) (i32.store (i32.const 1064) (i32.const 0))
    (drop (call $poll (i32.const 1000) (i32.const 1400) (local.get $count) (i32.const 1500)))
    (i32.load8_u (i32.const 1410)))
  (func $take (param $room i32) (result i32)
    (i32.store (i32.const 0) (i32.const 200)) (i32.store (i32.const 4) (local.get $room))
    (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then (return (i32.const -1))))
    (i32.load (i32.const 8)))
  (func (export "clock") (result i32) (call $wait (i32.const 1)))
  (func (export "both") (result i32) (call $wait (i32.const 2)))
  (func (export "nothing") (result i32) (call $take (i32.const 0)))
  (func (export "at") (result i32) (call $pread (i32.const 0) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 8)))
  (func (export "file") (result i32)
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 2000) (i32.const 4) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16))
      (then (unreachable)))
    (if (call $renumber (i32.load (i32.const 16)) (i32.const 0)) (then (unreachable)))
    (call $take (i32.const 100))))
WAT
wat2wasm poll.wat -o poll.wasm
mkdir kept && echo text >kept/kept
same "a clock and standard input" "$("$husk" snapshot poll.wasm --invoke both --until stdin -o both.husk; echo $?)" 0
same "a clock and standard input: data" "$(echo x | "$husk" run both.husk)" "1:i32"
same "a clock and standard input: the clock" "$(sleep 2 | "$husk" run both.husk)" "0:i32"
for name in clock nothing at file; do # none of them wants data of the stream
    got=$("$husk" snapshot poll.wasm --invoke $name --dir kept::/::ro --until stdin -o none.husk 2>&1)
    contains "no data of standard input: $name" "$got" "the program ended with exit code 0 before it wanted data"
done

# ---- inspect ----

got=$("$husk" inspect read.husk)
contains "inspect: where" "$got" "stands_at       wasi_snapshot_preview1.fd_read"
contains "inspect: in which call" "$got" "in_call_of      _start"
contains "inspect: backtrace" "$got" " 1: take at 0x"
contains "inspect: backtrace to its end" "$got" " 2: start at 0x"
contains "inspect: arguments" "$got" "argument        ask.wasm"
got=$("$husk" inspect --json poll.husk)
contains "inspect in JSON" "$got" '"standing":{"module":"wasi_snapshot_preview1","name":"poll_oneoff","called":"_start","stack_bytes":'
contains "inspect in JSON: arguments" "$got" '"arguments":["ask.wasm","word"],"environment":[],"directories":[]}'
same "inspect: another snapshot has no such rows" "$("$husk" snapshot ask.wasm --invoke early -o between.husk && "$husk" inspect between.husk | grep -c stands_at)" 0
if command -v python3 >/dev/null; then
    check "inspect: JSON it is" python3 -c 'import json, sys; json.loads(sys.argv[1])["standing"]["frames"][0]' "$got"
fi

# ---- It ends before ----

ends() { # NAME CODE TEXT ARGS…: no file, this exit code, and says TEXT
    local got
    got=$("$husk" snapshot ask.wasm -o none.husk "${@:4}" 2>&1)
    same "$1: exit code" $? "$2"
    contains "$1" "$got" "$3"
    check "$1: no file" test ! -e none.husk
}
ends "exits" 3 "ask.wasm: the program ended with exit code 3 before it wanted data of standard input: there is no snapshot of it" --invoke exits --until stdin
contains "exits: what it wrote" "$("$husk" snapshot ask.wasm -o none.husk --invoke exits --until stdin 2>/dev/null)" ready
ends "exits with 0" 125 "exit code 0 before it" --invoke exits_well --until stdin
ends "returns" 125 "exit code 0 before it called wasi_snapshot_preview1.poll_oneoff" --invoke early --until wasi_snapshot_preview1.poll_oneoff
ends "traps" 134 "unreachable" --invoke fails --until stdin
ends "takes too long" 124 "" --invoke spin --until stdin --timeout 200ms
for signal in INT TERM HUP; do # ends with 128 and its number, not that of timeout
    got=$(timeout --preserve-status --foreground -s $signal 1 "$husk" snapshot ask.wasm --invoke spin --until stdin -o none.husk 2>&1)
    same "SIG$signal: exit code" $? $((128 + $(kill -l $signal)))
    contains "SIG$signal" "$got" "the call was interrupted"
    check "SIG$signal: no file" test ! -e none.husk
done
got=$("$husk" snapshot ask.wasm --until stdin -o /dev/full 2>&1)
same "to a device: exit code" $? 125
contains "to a device" "$got" "is a device, pipe or socket"
mkdir full
if unshare -rm mount -t tmpfs -o size=16k none full 2>/dev/null; then
    # onto a file that is there, and to a new name: the old file stays, and nothing else is left
    got=$(unshare -rm bash -c "mount -t tmpfs -o size=16k none full && echo old >full/old.husk
        for name in old new; do '$husk' snapshot ask.wasm --until stdin -o full/\$name.husk 2>&1 >/dev/null; echo \$?; done; ls -A full; cat full/old.husk")
    contains "on a full disk" "$got" "No space left on device"
    same "on a full disk: exit codes, what is there" "$(grep -v "No space" <<<"$got" | xargs)" "125 125 old.husk old"
else
    skip "on a full disk" "no tmpfs can be mounted here"
fi
ends "no such import" 125 "imports no function 'wasi_snapshot_preview1.nothing'" --until wasi_snapshot_preview1.nothing
ends "no module" 125 "imports no function 'stdout'" --until stdout
same "in JSON: exits" "$("$husk" snapshot ask.wasm -o none.husk --json --invoke exits --until stdin)" \
    '{"outcome":"exited","exit_code":3,"until":"stdin","message":"the program ended before: there is no snapshot of it","stdout":"ready\u000a","stderr":""}'
same "in JSON" "$("$husk" snapshot ask.wasm -o json.husk --json --until stdin)" \
    '{"outcome":"standing","until":"stdin","snapshot":"json.husk","stdout":"ready\u000a","stderr":""}'
same "in JSON: the file" "$(printf 'x\n' | "$husk" run json.husk | head -n 1)" x
# big N: writes N times 1 MiB, and reads; or it exits with the errno of a write.
cat >big.wat <<'WAT'
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 17)
  (func (export "big") (param $times i32) (result i32) (local $errno i32)
    (memory.fill (i32.const 65536) (i32.const 0x61) (i32.const 1048576))
    (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 1048576))
    (loop
      (if (local.tee $errno (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (then (call $exit (local.get $errno))))
      (br_if 0 (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (i32.store (i32.const 4) (i32.const 10))
    (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))))
WAT
wat2wasm big.wat -o big.wasm
same "in JSON: much" "$("$husk" snapshot big.wasm -o big.husk --json --invoke big 20 --until stdin | grep -o 'stdout":"a*"' | wc -c)" $((20 * 1048576 + 11))
check "in JSON: much: the file" test -s big.husk
for times in 64 65 66; do # what a program that cannot write makes of it is in no snapshot
    rm -f big.husk
    "$husk" snapshot big.wasm -o big.husk --json --invoke big $times --until stdin >big.json
    same "in JSON: $times MiB: exit code" $? $((times > 64 ? 125 : 0))
    check "in JSON: $times MiB: the file" test $((times > 64)) = "$(test -e big.husk; echo $?)"
done
contains "in JSON: too much" "$(tail -c 300 big.json)" "wrote more than 67108864 bytes to stdout, which --json collects"
same "not in JSON: no limit" "$("$husk" snapshot big.wasm -o big.husk --invoke big 66 --until stdin | wc -c)" $((66 * 1048576))
cat >names.wat <<'WAT'
(module (import "a.b" "c d\00" (func $f)) (import "a" "b.c" (func $g)) (memory (export "memory") 1) (func (export "_start") (call $f) (call $g)))
WAT
wat2wasm names.wat -o names.wasm
names_stand() { # NAME TEXT SHOWN: --until TEXT stops where husk inspect shows SHOWN
    "$husk" snapshot names.wasm --unknown-imports trap --until "$2" -o names.husk 2>&1
    same "$1" "$("$husk" inspect names.husk | sed -n 's/^stands_at *//p')" "$3"
    rm -f names.husk
}
names_stand "a name with a dot, escaped" 'a.b.c d\00' '"a.b"."c d\00"'
names_stand "a name with a dot, as husk inspect prints it" '"a.b"."c d\00"' '"a.b"."c d\00"'
same "a name after another import that nobody gives" "$("$husk" snapshot names.wasm --unknown-imports trap --until a.b.c -o names.husk 2>&1 | head -n 1)" \
    'husk snapshot: trap: the module called the unknown import "a.b.c d\00", which nobody defined'
cat >init.wat <<'WAT'
(module (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (memory (export "memory") 1)
  (func $start (drop (call $yield))) (start $start)
  (func (export "_start")))
WAT
wat2wasm init.wat -o init.wasm
got=$("$husk" snapshot init.wasm --until wasi_snapshot_preview1.sched_yield -o none.husk 2>&1)
same "in the initialisation: exit code" $? 125
contains "in the initialisation" "$got" "initialisation"
cat >reactor.wat <<'WAT'
(module (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (memory (export "memory") 1)
  (func (export "_initialize") (drop (call $yield)))
  (func (export "f")))
WAT
wat2wasm reactor.wat -o reactor.wasm
contains "in _initialize" "$("$husk" snapshot reactor.wasm --invoke f --until wasi_snapshot_preview1.sched_yield -o none.husk 2>&1)" "comes to that in its _initialize already"

# ---- Surroundings ----

mkdir dir
"$husk" snapshot ask.wasm --until stdin -o there.husk --env A=1 --env B=2 --dir dir::/d::ro --dir mem::/m -- one two >/dev/null
goes_on() { # NAME EXPECTED ARGS…: of husk run
    same "$1" "$(printf 'x\n' | "$husk" run "${@:3}" 2>&1)" "x
$2"
}
refused() { # NAME TEXT ARGS…
    local got
    got=$("$husk" run "${@:3}" 2>&1 </dev/null)
    same "$1: exit code" $? 125
    contains "$1" "$got" "$2"
}
dirs=(--dir dir::/d::ro --dir mem::/m)
goes_on "the directories alone" "3
2" "${dirs[@]}" there.husk
goes_on "all the same" "3
2" "${dirs[@]}" --env B=2 --env A=1 there.husk one two
refused "no directory" "which was begun with --dir HOST::/d::ro" there.husk
refused "fewer directories" "which was begun with --dir mem::/m" --dir dir::/d::ro there.husk
refused "another mode" "--dir HOST::/d::ro" --dir dir::/d::rw --dir mem::/m there.husk
refused "another name" "--dir HOST::/d::ro" --dir dir::/e::ro --dir mem::/m there.husk
refused "one more" "begun without the directory /x" "${dirs[@]}" --dir mem::/x there.husk
refused "other arguments" "begun with other arguments" "${dirs[@]}" there.husk one three
refused "fewer arguments" "begun with other arguments" "${dirs[@]}" there.husk one
refused "another name of the program" "begun with other arguments" "${dirs[@]}" --argv0 x there.husk
refused "another variable" "begun without the variable C=3" "${dirs[@]}" --env C=3 there.husk
refused "another value" "begun without the variable A=2" "${dirs[@]}" --env A=2 --env B=2 there.husk
refused "fewer variables" "begun with the variable B=2" "${dirs[@]}" --env A=1 there.husk
goes_on "told otherwise" "2
1" --new-surroundings "${dirs[@]}" --env C=3 there.husk one
goes_on "told otherwise: without a directory" "3
2" --new-surroundings there.husk
"$husk" snapshot ask.wasm --until stdin -o mem.husk --dir mem::/m >/dev/null
goes_on "directories in memory come with it" "1
0" mem.husk
refused "another function" "--invoke is not possible" --invoke sum read.husk 1
same "a snapshot of it as it is" "$("$husk" snapshot read.husk -o none.husk 2>&1; echo $?)" \
    "husk snapshot: read.husk: stands in the middle of a call (husk inspect shows where), as it is in the file; --until lets it go on first
125"

# ---- Terminals ----

if command -v script >/dev/null; then
    on_terminal() { # COMMAND
        script -qec "$1" /dev/null </dev/null | tr -d '\r'
    }
    same "husk run: a terminal is one" "$(on_terminal "$husk run ask.wasm --invoke tty")" "2:i32"
    on_terminal "$husk snapshot ask.wasm --until wasi_snapshot_preview1.fd_fdstat_get --invoke tty -o tty.husk" >/dev/null
    cat >seen.wat <<'WAT'
(module (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (memory (export "memory") 1)
  (func (export "tty") (result i32) (drop (call $fdstat (i32.const 1) (i32.const 600))) (drop (call $yield)) (i32.load8_u (i32.const 600))))
WAT
    wat2wasm seen.wat -o seen.wasm
    on_terminal "$husk snapshot seen.wasm --until wasi_snapshot_preview1.sched_yield --invoke tty -o seen.husk"
    same "husk snapshot: a terminal is a pipe" "$("$husk" run seen.husk)" "0:i32"
    on_terminal "$husk snapshot seen.wasm --terminals --until wasi_snapshot_preview1.sched_yield --invoke tty -o seen.husk"
    same "husk snapshot --terminals: it is a terminal" "$("$husk" run seen.husk)" "2:i32"
    same "husk snapshot: what is written to a terminal" "$(on_terminal "$husk snapshot ask.wasm --until stdin -o x.husk")" ready
else
    skip "terminals" "no script (package bsdutils)"
fi

# ---- Hostile files ----

damaged() { # NAME FROM TO: bytes of the note, which are there once
    python3 - "$2" "$3" <<'PY'
import sys
data = open("there.husk", "rb").read()
old, new = (eval("b'" + text + "'") for text in sys.argv[1:])
assert data.count(old) == 1 and len(old) == len(new)
open("bad.husk", "wb").write(data.replace(old, new))
PY
    refused "$1" "its note is damaged" --no-verify "${dirs[@]}" bad.husk
    check "$1: inspect ends well" test "$("$husk" inspect --no-verify bad.husk >/dev/null 2>&1; echo $?)" = 125
}
if command -v python3 >/dev/null; then
    damaged "an unknown string" '\x00aone\x00atwo\x00' '\x00zone\x00atwo\x00'
    damaged "an unknown kind of directory" '\x00dhr/d\x00' '\x00dxr/d\x00'
    damaged "unknown rights of a directory" '\x00dhr/d\x00' '\x00dhx/d\x00'
    damaged "an empty string" '\x00aone\x00atwo\x00' '\x00aon\x00\x00atwo\x00'
fi
finish
