# tests/cli/snapshot_test.sh: husk snapshot, and what the other commands make of its files.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
export HUSK_CACHE_DIR=$scratch/cache
cd "$scratch" || exit 1
command -v wat2wasm >/dev/null || { skip all "no wat2wasm (package wabt) to make modules with"; finish; }
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
  (func (export "bad") unreachable)
  (func (export "spin") (loop br 0)))
WAT
wat2wasm app.wat -o app.wasm
same "no output file: exit code" "$("$husk" snapshot app.wasm 2>/dev/null; echo $?)" 2
contains "no output file" "$("$husk" snapshot app.wasm 2>&1)" "where to? Name a file with -o"
contains "help" "$("$husk" snapshot --help)" "usage: husk snapshot"
contains "husk run has no -o" "$("$husk" run -o x app.wasm 2>&1)" "bad option -o"
need_kvm
same "after a call" "$("$husk" snapshot app.wasm --invoke init 41 -o ready.husk 2>&1; echo $?)" 0
same "goes on from there" "$("$husk" run --invoke next ready.husk)" "42:i32"
same "again from there" "$("$husk" run --invoke next ready.husk)" "42:i32"
same "with the memory it had" "$("$husk" run --invoke size ready.husk)" "3:i32"
same "a negative argument" "$("$husk" snapshot -o minus.husk --invoke init app.wasm -- -5 2>&1; echo $?)" 0
same "a negative argument, then" "$("$husk" run --invoke next minus.husk)" "-4:i32"
same "after the start function only" "$("$husk" snapshot app.wasm -o started.husk 2>&1; echo $?)" 0
same "started once" "$("$husk" run --invoke next started.husk)" "101:i32"
same "a snapshot of a snapshot" "$("$husk" snapshot ready.husk --invoke next -o next.husk 2>&1; echo $?)" 0
same "a snapshot of a snapshot, then" "$("$husk" run --invoke next next.husk)" "43:i32"
got=$("$husk" inspect --verify ready.husk)
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
same "a trap: exit code" "$("$husk" snapshot app.wasm --invoke bad -o bad.husk 2>/dev/null; echo $?)" 134
same "out of time: exit code" "$("$husk" snapshot --timeout 50ms app.wasm --invoke spin -o bad.husk 2>/dev/null; echo $?)" 124
same "nothing is written then" "$(ls bad.husk 2>/dev/null)" ""
same "no such folder: exit code" "$("$husk" snapshot app.wasm -o nowhere/x.husk 2>/dev/null; echo $?)" 125
if command -v readelf >/dev/null; then
    same "readelf has no complaint" "$(readelf -lhSn ready.husk 2>&1 >/dev/null)" ""
fi
head -c 6000 ready.husk >short.husk
same "truncated: exit code" "$("$husk" run --invoke next short.husk 2>/dev/null; echo $?)" 125
finish
