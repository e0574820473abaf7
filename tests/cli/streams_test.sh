# tests/cli/streams_test.sh: husk run and its standard streams: rights by role, --seek, and limits that end a program that waits.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
in_scratch
need_wat2wasm
cat >streams.wat <<'WAT'
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_allocate" (func $allocate (param i32 i64 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 8) "\00\01\00\00\04\00\00\00\00\10\00\00\00\00\01\00") ;; 4 bytes at 256; 64 KiB at 4096
  (data (i32.const 256) "text")
  (func (export "steal") (param i32) (result i32) (call $read (local.get 0) (i32.const 8) (i32.const 1) (i32.const 0)))
  (func (export "psteal") (param i32) (result i32) (call $pread (local.get 0) (i32.const 8) (i32.const 1) (i64.const 0) (i32.const 0)))
  (func (export "inject") (param i32) (result i32) (call $write (local.get 0) (i32.const 8) (i32.const 1) (i32.const 0)))
  (func (export "forge") (param i32) (result i32) (call $pwrite (local.get 0) (i32.const 8) (i32.const 1) (i64.const 0) (i32.const 0)))
  (func (export "truncate") (param i32) (result i32) (call $set_size (local.get 0) (i64.const 0)))
  (func (export "fill") (param i32) (result i32) (call $allocate (local.get 0) (i64.const 0) (i64.const 1048576)))
  (func (export "seek") (param i32) (result i32) (call $seek (local.get 0) (i64.const 2) (i32.const 0) (i32.const 0)))
  (func (export "kind") (param i32) (result i32) (drop (call $fdstat (local.get 0) (i32.const 32))) (i32.load8_u (i32.const 32)))
  (func (export "flood") (result i32)
    (loop $more (br_if $more (i32.eqz (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 0))))) (i32.const 0))
  (func (export "listen") (result i32)
    (loop $more (br_if $more (i32.eqz (call $read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 0))))) (i32.const 0)))
WAT
wat2wasm streams.wat -o streams.wasm && "$husk" compile streams.wasm -o streams.husk || exit 1

# What a shell gives: one descriptor, open for reading and writing, behind a stream. The result goes to standard error, or output.
printf 'admin logged in\n' >log
before=$(cksum <log)
for what in steal psteal forge truncate fill seek; do
    "$husk" run streams.husk --invoke $what 2 2<>log >out
    same "standard error: no $what" "$(grep -c '^\(76\|70\):i32$' out)" 1
done
same "the log is as it was" "$(cksum <log)" "$before"
for what in inject forge truncate fill; do
    same "standard input: no $what" "$("$husk" run streams.husk --invoke $what 0 <>log | grep -c '^\(76\|70\):i32$')" 1
done
same "the log is as it was after that, too" "$(cksum <log)" "$before"
same "standard input is read" "$("$husk" run streams.husk --invoke steal 0 <>log)" 0:i32
same "standard error is written" "$("$husk" run streams.husk --invoke inject 2 2>>log)" 0:i32
same "at its end" "$(tail -n 1 log)" text
same "a file looks like a pipe" "$("$husk" run streams.husk --invoke kind 0 <log)" 0:i32
same "/dev/null is no terminal" "$("$husk" run streams.husk --invoke kind 0 </dev/null)" 0:i32
same "--seek: a file is a file" "$("$husk" run --seek streams.husk --invoke kind 0 <log)" 4:i32
same "--seek: a position" "$("$husk" run --seek streams.husk --invoke seek 0 <log)" 0:i32
same "--seek: still no size" "$("$husk" run --seek streams.husk --invoke truncate 2 2>>log)" 76:i32
same "--seek: still one direction" "$("$husk" run --seek streams.husk --invoke psteal 2 2<>log)" 76:i32

# Nobody reads, nobody writes; a shell's own limit ends the test if husk does not.
mkfifo pipe
ends() { # NAME CODE TEXT COMMAND…
    timeout -k 1 30 "${@:4}" <>pipe 1<>pipe 2>err
    same "$1: exit code" $? "$2"
    contains "$1" "$(cat err)" "$3"
}
ends "a limit ends a write that nobody reads" 124 "time limit" "$husk" run --timeout 300ms streams.husk --invoke flood
rm pipe && mkfifo pipe
ends "a limit ends a read that nobody answers" 124 "time limit" "$husk" run --timeout 300ms streams.husk --invoke listen

# The report goes where the guest wrote: it has its time, and then nobody waits for a reader.
rm pipe && mkfifo pipe
timeout -k 1 30 "$husk" run --timeout 300ms streams.husk --invoke flood <>pipe 1<>pipe 2>&1
same "a limit ends the report that nobody reads: exit code" $? 124
rm pipe && mkfifo pipe
timeout -k 1 30 "$husk" run --json --timeout 300ms streams.husk --invoke flood <>pipe 1<>pipe
same "so with --json: exit code" $? 124
rm pipe && mkfifo pipe
ends "so does a CPU limit alone" 124 "CPU limit" "$husk" run --cpu-timeout 100ms streams.husk --invoke listen
finish
