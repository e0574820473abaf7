# tests/cli/snapshot_test.sh: husk snapshot, and what the other commands make of its files.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
in_scratch
need_wat2wasm
cat >app.wat <<'WAT'
(module $app
  (memory (export "memory") 1 9)
  (table 5 50 funcref)
  (global $n (mut i32) (i32.const 0))
  (func $s i32.const 100 global.set $n)
  (start $s)
  (func (export "init") (param i32) (result i32) local.get 0 global.set $n i32.const 2 memory.grow)
  (func (export "next") (result i32) global.get $n i32.const 1 i32.add global.set $n global.get $n)
  (func (export "size") (result i32) memory.size)
  (func (export "put") (param i32 i32) local.get 0 local.get 1 i32.store)
  (func (export "bad") unreachable)
  (func (export "spin") (loop br 0)))
WAT
wat2wasm app.wat -o app.wasm
echo text >ready.txt
same "no output file: exit code" "$("$husk" snapshot app.wasm 2>/dev/null; echo $?)" 2
contains "no output file" "$("$husk" snapshot app.wasm 2>&1)" "where to? Name a file with -o"
contains "no output file: the function's name was forgotten" "$("$husk" snapshot app.wasm --invoke -o x.husk 2>&1)" "'-o' was taken for the function"
refused_output() { # NAME PART ARGS…: wrong usage, says PART, and the module is as it was
    local out before
    before=$(cksum <app.wasm)
    out=$("$husk" snapshot "${@:3}" 2>&1)
    same "$1: exit code" $? 2
    contains "$1" "$out" "$2"
    same "$1: the module" "$(cksum <app.wasm)" "$before"
}
ln -s app.wasm app-link.husk
ln app.wasm app-hard.husk
refused_output "onto the module" "'app.wasm' is the module itself" app.wasm --invoke init 1 -o app.wasm
refused_output "onto the module by another path" "is the module itself" app.wasm -o ./app.wasm
refused_output "onto the module by a symbolic link" "is the module itself" app.wasm -o app-link.husk
refused_output "onto the module by a hard link" "is the module itself" app.wasm -o app-hard.husk
refused_output "onto the module that is standard input" "is the module itself" - -o app.wasm <app.wasm
refused_output "onto standard output" "a file of the name '-' is ./-" app.wasm -o -
same "onto standard output: no file" "$(ls -- ./- 2>/dev/null)" ""
contains "help" "$("$husk" snapshot --help)" "usage: husk snapshot"
contains "husk run has no -o" "$("$husk" run -o x app.wasm 2>&1)" "bad option -o"
need_kvm
same "after a call" "$("$husk" snapshot app.wasm --invoke init 41 -o ready.husk 2>&1; echo $?)" 0
same "goes on from there" "$("$husk" run --invoke next ready.husk)" "42:i32"
same "the function behind the file" "$("$husk" run ready.husk --invoke next)" "42:i32"
same "the function behind the file, in one word" "$("$husk" run ready.husk --invoke=next)" "42:i32"
same "again from there" "$("$husk" run --invoke next ready.husk)" "42:i32"
same "with the memory it had" "$("$husk" run --invoke size ready.husk)" "3:i32"
same "a negative argument" "$("$husk" snapshot -o minus.husk --invoke init app.wasm -- -5 2>&1; echo $?)" 0
same "a negative argument, then" "$("$husk" run --invoke next minus.husk)" "-4:i32"
same "after the start function only" "$("$husk" snapshot app.wasm -o started.husk 2>&1; echo $?)" 0
same "started once" "$("$husk" run --invoke next started.husk)" "101:i32"
same "a snapshot of a snapshot" "$("$husk" snapshot ready.husk --invoke next -o next.husk 2>&1; echo $?)" 0
same "a snapshot of a snapshot, then" "$("$husk" run --invoke next next.husk)" "43:i32"
got=$("$husk" inspect ready.husk)
contains "inspect: kind" "$got" "kind            snapshot"
contains "inspect: memory" "$got" "memory_pages    3"
contains "inspect: tables" "$got" "table_entries   5"
got=$("$husk" run --stats --invoke next ready.husk 2>&1)
contains "statistics: calls" "$got" "husk: 1 calls in "
contains "statistics: snapshots" "$got" "husk: 0 snapshots (0 pages, "
contains "statistics: restores" "$got" " 0 restores (0 pages copied, "
contains "statistics: loads" "$got" "husk: loads: 0 in place, 0 rebuilt, 1 with a new VM (1 of snapshots); 0 unloads, 0 pool hits, 1 VMs made, 1 alive"
same "statistics: nothing is poisoned" "$(grep -c poisoned <<<"$got")" 0
contains "statistics of a snapshot" "$("$husk" snapshot --stats app.wasm -o s.husk 2>&1)" "husk: 1 snapshots (1 pages, 4 KiB) in "
contains "statistics: poisoned" "$("$husk" run --stats --timeout 1s --invoke spin ready.husk 2>&1)" "husk: 1 poisoned by: deadline"

# ---- A file like any other ----

if command -v readelf >/dev/null; then
    same "readelf has no complaint" "$(readelf -a -W ready.husk 2>&1 >/dev/null)" ""
    contains "readelf: sections" "$(readelf -SW ready.husk)" " .memory.0 "
fi
if command -v objdump >/dev/null; then
    contains "objdump disassembles it" "$(objdump -d ready.husk 2>&1)" "ret"
    contains "inspect --asm" "$("$husk" inspect --asm ready.husk)" "ret"
fi
if command -v gdb >/dev/null; then
    "$husk" snapshot app.wasm --invoke put 5000 123456789 -o put.husk
    contains "gdb reads its memory" "$(gdb -nx -batch -ex 'x/dw 0x40001388' put.husk 2>&1)" "123456789"
else
    skip "gdb reads its memory" "no gdb"
fi
"$husk" snapshot next.husk --invoke next -o gen2.husk
"$husk" snapshot gen2.husk --invoke next -o gen3.husk
same "generations do not grow" "$(stat -c %s gen3.husk)" "$(stat -c %s gen2.husk)"
same "to a file with a strange name" "$("$husk" snapshot gen3.husk --invoke next -o ./-; "$husk" run --invoke next ./-)" "46:i32"
same "onto itself" "$("$husk" snapshot gen3.husk --invoke next -o gen3.husk; "$husk" run --invoke next gen3.husk)" "46:i32"

# ---- Refused: damaged, truncated, other versions, limits too small ----

refused() { # NAME FILE PART: 125, and says PART
    local out
    out=$("$husk" run --invoke next "$2" 2>&1)
    same "$1: exit code" $? 125
    contains "$1" "$out" "$3"
}
patch() { # FROM TO OFFSET BYTES: a copy with other bytes there
    cp "$1" "$2"
    printf "$4" | dd of="$2" bs=1 seek="$3" conv=notrunc 2>/dev/null
}
size=$(stat -c %s ready.husk)
for at in 9 24 100 2000 5000 $((size / 2)) $((size - 3000)) $((size - 1)); do
    old=$(od -An -tx1 -j "$at" -N 1 ready.husk | tr -d ' ')
    patch ready.husk bad.husk "$at" "\\x$(printf %02x $((0x$old ^ 0x40)))"
    refused "byte $at changed" bad.husk "bad.husk: "
done
contains "damaged: message" "$("$husk" run --invoke next bad.husk 2>&1)" "do not match its hash: the file was damaged or changed"
same "damaged, and not verified" "$("$husk" run --no-verify --invoke next bad.husk)" "42:i32"
same "damaged: no snapshot of it" "$("$husk" snapshot bad.husk -o no.husk 2>/dev/null; echo $?; ls no.husk 2>/dev/null)" 125
same "damaged: inspect" "$("$husk" inspect bad.husk >/dev/null 2>&1; echo $?)" 125
contains "damaged: inspect --no-verify" "$("$husk" inspect --no-verify bad.husk)" "kind            snapshot"
for bytes in 0 3 63 64 300 1000 5000 $((size / 2)) $((size - 4096)) $((size - 1)); do
    head -c "$bytes" ready.husk >short.husk
    refused "truncated to $bytes bytes" short.husk "short.husk: "
done
head -c 6000 ready.husk >short.husk
refused "truncated: message" short.husk "truncated"
# The note's descriptor starts with a magic number; 12 bytes behind it are the format and the ABI.
note=$(grep -abo HUSKIMG1 ready.husk | head -n 1 | cut -d: -f1)
if [ -n "$note" ]; then
    patch ready.husk newer.husk $((note + 12)) '\x63'
    refused "of a newer format" newer.husk "image format 99, ABI 1; this husk reads format 2, ABI 1. The image is of a newer husk"
    patch ready.husk newer.husk $((note + 14)) '\x02'
    refused "of a newer ABI" newer.husk "image format 2, ABI 2"
    patch ready.husk older.husk $((note + 14)) '\x00'
    refused "of an older ABI" older.husk "of an older husk"
else
    fail "the note" "its magic number is not in the file"
fi
same "limits: exit code" "$("$husk" run --max-memory 128K --invoke next ready.husk 2>/dev/null; echo $?)" 125
contains "limits" "$("$husk" run --max-memory 128K --invoke next ready.husk 2>&1)" "the snapshot starts with 196608 bytes of linear memory; memory_max_bytes is 131072"
same "limits that suffice" "$("$husk" run --max-memory 192K --invoke next ready.husk)" "42:i32"

# ---- Nothing to take a snapshot of ----

none() { # NAME EXPECTED-CODE PART ARGS…: that code, says PART, writes nothing
    local name=$1 expected=$2 part=$3 out
    shift 3
    out=$("$husk" snapshot "$@" -o none.husk 2>&1)
    same "$name: exit code" $? "$expected"
    contains "$name" "$out" "$part"
    same "$name: no file" "$(ls none.husk* 2>/dev/null)" ""
}
none "a function that is not there" 125 "exports no function 'nope'; it has: init, next" app.wasm --invoke nope
none "too few arguments" 2 "husk snapshot: app.wasm: init takes 1 argument, not 0" app.wasm --invoke init
none "a trap" 134 "unreachable" app.wasm --invoke bad
none "out of time" 124 "" --timeout 50ms app.wasm --invoke spin
none "no such file" 125 "No such file" missing.wasm
none "not a module" 125 "neither" ready.txt
cat >exit.wat <<'WAT'
(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "quit") (param i32) local.get 0 call $exit)
  (func (export "read") (result i32) (i32.store (i32.const 8) (i32.const 64)) (i32.store (i32.const 12) (i32.const 64))
    i32.const 0 i32.const 8 i32.const 1 i32.const 0 call $read))
WAT
wat2wasm exit.wat -o exit.wasm
none "a program that exits" 7 "exited with code 7: there is no snapshot" exit.wasm --invoke quit 7
none "a program that exits with 0" 125 "exited with code 0: there is no snapshot" exit.wasm --invoke quit 0
none "the same as JSON" 125 '"outcome":"exited"' --json exit.wasm --invoke quit 0
same "success as JSON" "$("$husk" snapshot --json app.wasm -o json.husk)" '{"outcome":"returned","snapshot":"json.husk"}'

# ---- Standard streams that are closed are not taken for files that husk opens ----

same "stdin closed" "$("$husk" run --invoke read exit.wasm <&-)" "8:i32" # EBADF
same "all closed" "$("$husk" snapshot exit.wasm --invoke read -o closed.husk <&- >&- 2>&-; echo $?)" 0
same "all closed, then" "$("$husk" run --invoke read closed.husk <&-)" "8:i32"
same "nowhere to print to" "$({ "$husk" run --invoke next ready.husk 2>/dev/null 3>&1 >&-; echo $? >&3; } 3>&1)" 125

# ---- Where it cannot be written ----

fails() { # NAME PATH PART: 125, says PART, leaves nothing beside
    local out before after
    before=$(ls -a)
    out=$("$husk" snapshot app.wasm -o "$2" 2>&1)
    same "$1: exit code" $? 125
    contains "$1" "$out" "$3"
    after=$(ls -a)
    same "$1: nothing is left" "$after" "$before"
}
mkdir folder
mkfifo fifo
cat app.wasm >fifo &
same "a module from a named pipe" "$("$husk" snapshot fifo -o piped.husk; "$husk" run piped.husk --invoke next)" "101:i32"
wait $!
same "its writer" $? 0
ln -s json.husk link
before=$(cksum <json.husk)
fails "no such folder" nowhere/x.husk "No such file or directory"
fails "a folder" folder "Is a directory"
fails "a folder's name" folder/ "does not name a file"
fails "no name" "" "does not name a file"
fails "below a file" app.wasm/x.husk "Not a directory"
fails "a name that is too long" "$(printf 'x%.0s' {1..256})" "File name too long"
fails "a pipe" fifo "a device, pipe or socket"
fails "a symbolic link" link "a symbolic link"
same "what the link points to" "$(cksum <json.husk)" "$before"
if mknod full c 1 7 2>/dev/null; then # as /dev/full: a regression must not cost the real one
    fails "a device" full "a device, pipe or socket"
    check "the device is there" test -c full
fi
long=$(printf 'y%.0s' {1..250})
same "a long name" "$("$husk" snapshot app.wasm -o "$long"; echo $?)" 0
rm -f "$long"
if [ "$(id -u)" != 0 ]; then
    mkdir closed
    chmod 555 closed
    fails "a folder without permission" closed/x.husk "Permission denied"
else
    fails "a folder in which nobody can create files" /proc/x.husk "No such file or directory"
fi

# ---- A full disk, and what is there already ----

cat >large.wat <<'WAT'
(module (memory (export "memory") 64)
  (func (export "init") (memory.fill (i32.const 0) (i32.const 7) (i32.const 4194304)))
  (func (export "next") (result i32) i32.const 4000000 i32.load8_u))
WAT
wat2wasm large.wat -o large.wasm
"$husk" snapshot large.wasm -o kept.husk
chmod 600 kept.husk
before=$(cksum <kept.husk)
out=$(ulimit -f 2000; "$husk" snapshot large.wasm --invoke init -o kept.husk 2>&1)
same "no file may become so large: exit code" $? 125
contains "no file may become so large" "$out" "File too large"
same "the old one is kept" "$(cksum <kept.husk)" "$before"
if unshare -m true 2>/dev/null; then
    small() { unshare -m sh -c 'mount -t tmpfs -o size=1M none folder && cp kept.husk folder && "$@"; code=$?; ls -a folder; cksum <folder/kept.husk; exit $code' sh "$@"; }
    out=$(small "$husk" snapshot large.wasm --invoke init -o folder/kept.husk 2>&1)
    same "a full disk: exit code" $? 125
    contains "a full disk" "$out" "No space left on device"
    same "a full disk: nothing is left, the old one is kept" "$(tail -n 4 <<<"$out")" "$(printf '.\n..\nkept.husk\n%s' "$before")"
    out=$(unshare -m sh -c 'mount -t tmpfs -o ro none folder && "$@"' sh "$husk" snapshot app.wasm -o folder/x.husk 2>&1)
    same "a read-only disk: exit code" $? 125
    contains "a read-only disk" "$out" "Read-only file system"
    out=$(unshare -m sh -c 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && "$@"' sh "$husk" snapshot app.wasm -o none.husk 2>&1)
    same "no /dev/kvm: exit code" $? 125
    contains "no /dev/kvm" "$out" "there is no /dev/kvm"
    same "no /dev/kvm: no file" "$(ls none.husk* 2>/dev/null)" ""
else
    skip "a full disk" "not allowed to make a mount namespace"
fi
same "replaced" "$("$husk" snapshot large.wasm --invoke init -o kept.husk; "$husk" run --invoke next kept.husk)" "7:i32"
same "its permissions are kept" "$(stat -c %a kept.husk)" 600

# ---- Killed at any time: the old file or the new one, and nothing that is taken for one ----

new=$(cksum <kept.husk)
for ms in 0 2 4 6 8 10 14 20; do
    "$husk" snapshot large.wasm -o kept.husk
    "$husk" snapshot large.wasm --invoke init -o kept.husk &
    sleep 0.0"$(printf %02d "$ms")"
    kill -KILL $! 2>/dev/null
    wait $! 2>/dev/null
    now=$(cksum <kept.husk)
    check "killed after $ms ms: one of the two" test "$now" = "$before" -o "$now" = "$new"
    check "killed after $ms ms: temporary files say so" test -z "$(ls | grep '^kept\.husk.' | grep -v '\.tmp$')"
done
finish
