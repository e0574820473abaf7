# tests/cli/dirs_test.sh: husk run and husk snapshot with --dir: directories of the host and of the sandbox, and open files in snapshots.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
in_scratch
need_wat2wasm
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
for text in "" ::/ tree:: tree::/::no tree::/::rw::x mem:: mem::/:: mem::/::rw tree::ro ./tree::rw mem::cow; do
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

# ---- Limits ----

for text in "" 0 -1 65537 5x 1e3; do
    contains "--max-open '$text'" "$("$husk" run --max-open "$text" files.husk --invoke name 3 2>&1)" "--max-open wants a number from 1 to 65536"
done
contains "--max-names 0" "$("$husk" run --max-names 0 files.husk --invoke name 3 2>&1)" "--max-names wants a number from 1 to 16777216"
contains "--max-private 5x" "$("$husk" run --max-private 5x files.husk --invoke name 3 2>&1)" "--max-private wants a size"
limited() { # OPTION VALUE FUNCTION ARGS…
    "$husk" run "$1" "$2" --dir mem::/ files.husk --invoke "${@:3}"
}
same "--max-open reached: EMFILE" "$(limited --max-open 4 open 3 1 66)" 33:i32
same "--max-open not reached" "$(limited --max-open 5 open 3 1 66)" 0:i32
contains "--max-open below the directories" "$(limited --max-open 3 name 3 2>&1)" "open_max is 3"
same "--max-private reached: ENOSPC" "$(limited --max-private 4K open 3 1 66)" 51:i32
same "--max-private not reached" "$(limited --max-private 64K open 3 1 66)" 0:i32
two=(--dir mem::/a --dir mem::/b)
check "a snapshot with one name" "$husk" snapshot files.husk --max-names 1 "${two[@]}" --invoke open -o one.husk -- 3 1 66
same "--max-names reached: ENOSPC" "$("$husk" run --max-names 1 "${two[@]}" one.husk --invoke open 4 1 66)" 51:i32
same "--max-names not reached" "$("$husk" run --max-names 2 "${two[@]}" one.husk --invoke open 4 1 66)" 0:i32
contains "--max-private above the highest" "$(limited --max-private 9G name 3 2>&1)" "private_max_bytes"
check "a snapshot with a limit" "$husk" snapshot files.husk --max-private 64K --dir mem::/ --invoke open -o limited.husk -- 3 1 66
contains "a snapshot that needs more" "$("$husk" run --max-private 4K --dir mem::/ limited.husk --invoke next 2>&1)" "the snapshot's private directories"
same "a snapshot that needs no more" "$("$husk" run --max-private 64K --dir mem::/ limited.husk --invoke next)" 0:i32

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

# ---- The list of files ----

sed 's/"file")/"a \\22b")/' files.wat >odd.wat && wat2wasm odd.wat -o odd.wasm || exit 1
check "a file with an odd name" "$husk" snapshot odd.wasm --dir mem::/ --invoke open -o odd.husk -- 3 1 66
same "inspect --files" "$("$husk" inspect --files odd.husk)" ' 0 directory            0 .
 0 file                 0 "a \"b"'
contains "inspect --files --json" "$("$husk" inspect --files --json odd.husk)" '{"dir":0,"path":"a \"b","kind":"file","bytes":0,'
check "one that is removed and open" "$husk" snapshot odd.husk --dir mem::/ --invoke remove -o removed.husk -- 3
same "is not in the list" "$("$husk" inspect --files removed.husk)" ' 0 directory            0 .'
check "a file of the host that cow removed" "$husk" snapshot files.wasm --dir tree::/::cow --invoke remove -o removed.husk -- 3
same "its name is" "$("$husk" inspect --files removed.husk)" ' 0 directory            0 .
 0 removed              0 file'
check "a snapshot before there was a directory" "$husk" snapshot files.wasm -o none.husk
same "given later: there" "$(later none.husk tree::/ open 3 0 2)" 0:i32
finish
