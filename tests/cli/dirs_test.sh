# tests/cli/dirs_test.sh: husk run and husk snapshot with --dir: directories of the host and of the sandbox, and open files in snapshots.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
export HUSK_CACHE_DIR=$scratch/cache
cd "$scratch" || exit 1
command -v wat2wasm >/dev/null || { skip all "no wat2wasm (package wabt) to make modules with"; finish; }
cat >files.wat <<'WAT'
(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "\00\01\00\00\01\00\00\00") ;; a byte at 256
  (data (i32.const 64) "file")
  (global $fd (export "fd") (mut i32) (i32.const -1))
  ;; directory, oflags (1: create, 8: truncate), rights (2: read, 64: write): errno
  (func (export "open") (param i32 i32 i64) (result i32)
    (local i32)
    (local.set 3 (call $open (local.get 0) (i32.const 1) (i32.const 64) (i32.const 4) (local.get 1) (local.get 2) (i64.const 0) (i32.const 0) (i32.const 0)))
    (if (i32.eqz (local.get 3)) (then (global.set $fd (i32.load (i32.const 0)))))
    (local.get 3))
  ;; the next byte of the open file; 0: at its end; less than 0: errno
  (func (export "next") (result i32)
    (local i32)
    (i32.store8 (i32.const 256) (i32.const 0))
    (local.set 0 (call $read (global.get $fd) (i32.const 8) (i32.const 1) (i32.const 0)))
    (if (result i32) (local.get 0) (then (i32.sub (i32.const 0) (local.get 0))) (else (i32.load8_u (i32.const 256)))))
  (func (export "put") (param i32) (result i32)
    (i32.store8 (i32.const 256) (local.get 0))
    (call $write (global.get $fd) (i32.const 8) (i32.const 1) (i32.const 0)))
  (func (export "remove") (param i32) (result i32) (call $unlink (local.get 0) (i32.const 64) (i32.const 4)))
  ;; bytes of the name of a directory that was given; less than 0: errno
  (func (export "name") (param i32) (result i32)
    (local i32)
    (local.set 1 (call $prestat (local.get 0) (i32.const 0)))
    (if (result i32) (local.get 1) (then (i32.sub (i32.const 0) (local.get 1))) (else (i32.load (i32.const 4))))))
WAT
wat2wasm files.wat -o files.wasm && "$husk" compile files.wasm -o files.husk || exit 1
mkdir tree
echo AB >tree/file

# ---- The option ----

refused() { # NAME PART OPTION
    local out
    out=$("$husk" run --dir "$3" files.husk --invoke name 3 2>&1)
    same "$1: exit code" $? 2
    contains "$1" "$out" "$2"
}
for text in "" ::/ tree:: tree::/::no tree::/::rw::x mem:: mem::/::; do
    refused "--dir '$text'" "--dir wants HOST" "$text"
done
contains "help" "$("$husk" run --help)" "--dir HOST[::GUEST[::MODE]]"
need_kvm
in_guest() { # DIR FUNCTION ARGS…
    "$husk" run --dir "$1" files.husk --invoke "${@:2}"
}
contains "no such directory" "$(in_guest none::/ name 3 2>&1)" "cannot open the directory none: No such file or directory"
contains "not a directory" "$(in_guest tree/file::/ name 3 2>&1)" "Not a directory"
contains "proc" "$(in_guest /proc/self::/ name 3 2>&1)" "in a proc file system"
contains "a name twice" "$("$husk" run --dir tree::/a --dir .::/a/ files.husk --invoke name 3 2>&1)" "guest_path /a/ is that of dirs[0]"
same "no directory" "$("$husk" run files.husk --invoke name 3)" -8:i32
same "the host's name" "$(in_guest tree name 3)" 4:i32
same "another name" "$(in_guest tree::/some/where name 3)" 11:i32
same "two" "$("$husk" run --dir tree --dir mem::/tmp files.husk --invoke name 4)" 4:i32

# ---- Modes ----

same "read and write" "$(in_guest tree::/ open 3 0 66)" 0:i32
same "ro: read" "$(in_guest tree::/::ro open 3 0 2)" 0:i32
same "ro: no writing" "$(in_guest tree::/::ro open 3 0 66)" 63:i32
same "ro: no truncating" "$(in_guest tree::/::ro open 3 8 2)" 63:i32
same "ro: no removing" "$(in_guest tree::/::ro remove 3)" 63:i32
same "cow: removed" "$(in_guest tree::/::cow remove 3)" 0:i32
same "cow: truncated" "$(in_guest tree::/::cow open 3 8 66)" 0:i32
same "after that it is as it was" "$(cat tree/file)" AB
same "mem: empty" "$(in_guest mem::/ open 3 0 2)" 44:i32
same "mem: created" "$(in_guest mem::/ open 3 1 66)" 0:i32
same "rw: created" "$(in_guest .::/ open 3 1 66; ls -l file | cut -c1-10)" "0:i32
-rw-r--r--"
same "rw: removed" "$(in_guest .::/ remove 3; ls file 2>/dev/null)" 0:i32

# ---- Snapshots ----

snapshot() { # FROM TO DIR FUNCTION ARGS…
    "$husk" snapshot "$1" --dir "$3" --invoke "$4" -o "$2" -- "${@:5}"
}
later() { # IMAGE DIR FUNCTION ARGS…
    "$husk" run --dir "$2" "$1" --invoke "${@:3}"
}
check "a snapshot with an open file" snapshot files.husk open.husk tree::/ open 3 0 66
check "and of that" snapshot open.husk read.husk tree::/ next
same "the position is in it" "$(later read.husk tree::/ next)" 66:i32
same "each time" "$(later read.husk tree::/ next)" 66:i32
same "ro now: read" "$(later read.husk tree::/::ro next)" 66:i32
same "ro now: not written" "$(later read.husk tree::/::ro put 90)" 76:i32
same "rw: written" "$(later read.husk tree::/ put 90; cat tree/file)" "0:i32
AZ"
same "without a directory: closed" "$("$husk" run read.husk --invoke next)" -8:i32
same "of another kind: closed" "$(later read.husk mem::/ next)" -8:i32
cp tree/file copy && rm tree/file
same "not there any more: closed" "$(later read.husk tree::/ next)" -8:i32
same "and not created" "$(ls tree)" ""
mv copy tree/file
same "another file: closed" "$(later read.husk tree::/ next)" -8:i32
check "a snapshot before there was a directory" "$husk" snapshot files.wasm -o none.husk
same "given later: there" "$(later none.husk tree::/ open 3 0 2)" 0:i32
finish
