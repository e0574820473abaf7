# tests/cli/cli_test.sh: the husk command with good and bad input: outputs, exit codes, the cache. What needs KVM comes last.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
in_scratch

# run NAME CODE COMMAND…: checks the exit code; $out and $err are what it printed.
run() {
    local name=$1 expected=$2 code
    shift 2
    "$@" >"$scratch/out" 2>"$scratch/err" </dev/null
    code=$?
    out=$(tr -d '\0' <"$scratch/out")
    err=$(cat "$scratch/err")
    same "$name: exit code" "$code" "$expected"
}
says() { contains "$1" "$err" "$2"; }
prints() { contains "$1" "$out" "$2"; }

need_wat2wasm

cat >typed.wat <<'WAT'
(module $typed
  (memory (export "memory") 1 2)
  (table (export "table") 3 funcref)
  (global (export "counter") (mut i32) (i32.const 5))
  (func (export "i32") (param i32) (result i32) local.get 0)
  (func (export "i64") (param i64) (result i64) local.get 0)
  (func (export "f32") (param f32) (result f32) local.get 0)
  (func (export "f64") (param f64) (result f64) local.get 0)
  (func (export "ext") (param externref) (result externref) local.get 0)
  (func (export "fun") (param funcref) (result funcref) local.get 0)
  (func (export "none"))
  (func (export "pair") (result i32 i64) i32.const 1 i64.const -1)
  (func $inner unreachable)
  (func $outer (export "trap") call $inner)
  (func (export "spin") (loop br 0))
  (func (export "grow") (param i32) (result i32) local.get 0 memory.grow))
WAT
wat2wasm --debug-names typed.wat -o typed.wasm || fail setup "wat2wasm"
printf '(module (func (result i32) i64.const 0))' >invalid.wat
wat2wasm --no-check invalid.wat -o invalid.wasm || fail setup "wat2wasm"
head -c 40 typed.wasm >cut.wasm
printf '\0asm\15\0\1\0' >component.wasm
: >empty.wasm
printf ';; a comment\n (module)\n' >text.wat
echo hello >other.txt
mkdir folder

# ---- usage ----
run "no arguments" 2 "$husk"
says "no arguments" "husk run FILE"
for command in "" run compile inspect validate doctor; do
    run "help $command" 0 "$husk" help $command
    prints "help $command" "husk"
    [ -z "$command" ] || run "$command --help" 0 "$husk" $command --help
    [ -z "$command" ] || run "$command with a bad option" 2 "$husk" $command --no-such-option
    [ -z "$command" ] || says "$command with a bad option" "husk $command --help"
done
run "version" 0 "$husk" version
prints "version" "husk 0."
run "--version" 0 "$husk" --version
run "an unknown command" 2 "$husk" frobnicate
says "an unknown command" "no command 'frobnicate'"
run "a file as command" 2 "$husk" prog.wasm
says "a file as command" "husk run prog.wasm"
for command in run compile inspect validate; do run "$command without a file" 2 "$husk" $command; done
run "a bad level" 2 "$husk" run -O9 typed.wasm
run "a bad size" 2 "$husk" run --max-memory 5x typed.wasm
says "a bad size" "64M"
run "a negative time" 2 "$husk" run --timeout -1 typed.wasm
run "a time of nothing" 2 "$husk" run --timeout 0 typed.wasm
run "an option without its argument" 2 "$husk" run --env
run "a bad variable" 2 "$husk" run --env =x typed.wasm
run "--json without --invoke" 2 "$husk" run --json typed.wasm
run "--json after the file" 2 "$husk" run --json typed.wasm x --invoke i32
run "--invoke after the file without a function" 2 "$husk" run typed.wasm --invoke
says "--invoke after the file without a function" "which function?"
run "two inputs" 2 "$husk" compile typed.wasm invalid.wasm
run "doctor with an argument" 2 "$husk" doctor x
"$husk" inspect typed.wasm >/dev/full 2>"$scratch/err"
same "a full disk for the output: exit code" $? 125
contains "a full disk for the output" "$(cat err)" "standard output"

# ---- validate ----
run "a valid module" 0 "$husk" validate typed.wasm
same "a valid module: silent" "$out$err" ""
run "an invalid module" 1 "$husk" validate invalid.wasm
says "an invalid module" "invalid.wasm: "
says "an invalid module" "at offset 0x"
run "a truncated module" 1 "$husk" validate cut.wasm
says "a truncated module" "at offset 0x"
run "a component" 3 "$husk" validate component.wasm
says "a component" "component"
run "text" 1 "$husk" validate text.wat
says "text" "wat2wasm"
run "an empty file" 1 "$husk" validate empty.wasm
says "an empty file" "is empty"
run "something else" 1 "$husk" validate other.txt
says "something else" "neither a wasm module"
run "a folder" 125 "$husk" validate folder
says "a folder" "is a directory"
run "a missing file" 125 "$husk" validate missing.wasm
says "a missing file" "No such file"
run "a file that is no folder" 125 "$husk" validate typed.wasm/x
run "an endless file" 1 timeout 20 "$husk" validate /dev/zero
run "several: the worst counts" 1 "$husk" validate typed.wasm invalid.wasm
same "a module from a pipe" "$(cat typed.wasm | "$husk" validate - 2>&1; echo $?)" 0
run "json, valid" 0 "$husk" validate --json typed.wasm
same "json, valid" "$out" '{"file":"typed.wasm","valid":true}'
run "json, invalid" 1 "$husk" validate --json invalid.wasm
prints "json, invalid" '"status":"HUSK_E_INVALID_WASM"'
prints "json, invalid" '"offset":'
same "json, invalid: nothing on stderr" "$err" ""

# ---- inspect ----
cat >shared.wat <<'EOT'
(module (import "env" "memory" (memory 1 2 shared)) (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (func (export "spawn") (result i32) (drop (call $spawn (i32.const 0))) (call $spawn (i32.const 0)))
  (func (export "wait") (param i64) (result i32) (memory.atomic.wait32 (i32.const 0) (i32.const 0) (local.get 0))))
EOT
wat2wasm --enable-threads shared.wat -o shared.wasm || fail setup "wat2wasm"
run "inspect a shared memory" 0 "$husk" inspect shared.wasm
prints "inspect a shared memory" "memory env.memory: 1 to 2 pages of 64 KiB, shared"
run "inspect a shared memory as JSON" 0 "$husk" inspect --json shared.wasm
prints "inspect a shared memory as JSON" '"min":1,"max":2,"shared":true}'
run "inspect a module" 0 "$husk" inspect typed.wasm
prints "inspect a module" "func   i32: (i32) -> i32"
prints "inspect a module" "func   pair: () -> (i32, i64)"
prints "inspect a module" "memory memory: 1 to 2 pages of 64 KiB"
prints "inspect a module" "table  table: funcref, 3 entries"
prints "inspect a module" "global counter: mut i32"
prints "inspect a module" "typed"
printf '(module (memory (export "wide") i64 1 0x1000000000000) (func (export "size") (result i64) memory.size))' >wide.wat
wat2wasm --enable-memory64 wide.wat -o wide.wasm || fail setup "wat2wasm"
run "inspect a 64-bit memory" 0 "$husk" inspect wide.wasm
prints "inspect a 64-bit memory" "memory wide: i64, 1 to 281474976710656 pages of 64 KiB"
run "inspect a 64-bit memory as JSON" 0 "$husk" inspect --json wide.wasm
prints "inspect a 64-bit memory as JSON" '"min":1,"max":281474976710656,"address":"i64","shared":false}'
run "compile a 64-bit memory" 0 "$husk" compile wide.wasm -o wide.husk
run "inspect its image" 0 "$husk" inspect wide.husk
prints "inspect its image" "memory wide: i64, 1 to 281474976710656 pages of 64 KiB"
run "validate a 64-bit memory" 0 "$husk" validate wide.wasm
run "run with a 64-bit memory" 0 "$husk" run wide.wasm --invoke size
same "run with a 64-bit memory" "$out" 1:i64
printf '(module (memory i64 131073))' >wider.wat
wat2wasm --enable-memory64 wider.wat -o wider.wasm || fail setup "wat2wasm"
run "compile a 64-bit memory of more than 8 GiB" 125 "$husk" compile wider.wasm -o wider.husk
says "compile a 64-bit memory of more than 8 GiB" "it can have 131072 (8 GiB): declare a smaller minimum (at offset 0xb)"
run "inspect a module as JSON" 0 "$husk" inspect --json typed.wasm
if command -v python3 >/dev/null; then
    same "the JSON is JSON" "$(python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["functions"], len(d["exports"]), d["exports"][0]["max"])' <out)" "12 14 2"
else
    skip "the JSON is JSON" "no python3"
fi
run "inspect --wasm" 0 "$husk" inspect --wasm typed.wasm
prints "inspect --wasm" "unreachable"
prints "inspect --wasm" "memory.grow"
run "inspect an invalid module" 125 "$husk" inspect invalid.wasm
says "inspect an invalid module" "at offset 0x"
run "inspect nothing" 125 "$husk" inspect missing.wasm
"$husk" inspect --wasm typed.wasm 2>"$scratch/err" | head -n 1 >/dev/null
same "a reader that goes away" "$(cat err)" ""

# ---- compile ----
run "compile" 0 "$husk" compile typed.wasm -o typed.husk
same "compile: silent" "$out$err" ""
check "the image is an ELF file" sh -c "head -c 4 typed.husk | grep -q ELF"
cp typed.wasm beside.wasm
run "compile beside the input" 0 "$husk" compile -O0 beside.wasm
check "compile beside the input" test -s beside.husk
cp typed.wasm named.husk
ln -s typed.wasm link.husk
before=$(cksum <typed.wasm)
run "compile onto the module" 2 "$husk" compile typed.wasm -o typed.wasm
says "compile onto the module" "'typed.wasm' is the module itself"
run "compile onto the module by a link" 2 "$husk" compile typed.wasm -o link.husk
same "compile onto the module: it is as it was" "$(cksum <typed.wasm)" "$before"
run "compile a module whose name ends in .husk" 2 "$husk" compile named.husk
says "compile a module whose name ends in .husk" "'named.husk' is the module itself"
same "compile a module whose name ends in .husk: it is as it was" "$(cksum <named.husk)" "$before"
run "compile to standard output" 2 "$husk" compile typed.wasm -o -
says "compile to standard output" "images go to files"
check "compile to standard output: no file" test ! -e ./-
run "compile for a portable CPU" 0 "$husk" compile --cpu x86-64-v2 typed.wasm -o portable.husk
run "compile for a CPU that does not exist" 125 "$husk" compile --cpu no-such-cpu typed.wasm -o x.husk
says "compile for a CPU that does not exist" "no-such-cpu"
check "a failed compile leaves no file" test ! -e x.husk
run "compile an invalid module" 125 "$husk" compile invalid.wasm -o x.husk
says "compile an invalid module" "at offset 0x"
run "compile to a folder that does not exist" 125 "$husk" compile typed.wasm -o nowhere/x.husk
says "compile to a folder that does not exist" "No such file"
run "compile an image" 125 "$husk" compile typed.husk -o x.husk
says "compile an image" "already"
mkdir -p lone/bin
cp "$husk" lone/bin
check "a program that knows another place" "$HUSK_SOURCE/tools/set-worker-folder" "$PWD/lone/libexec/husk" lone/bin/husk
run "compile where the worker is missing" 125 lone/bin/husk compile typed.wasm -o x.husk
says "compile where the worker is missing" "husk-compile-worker"
run "inspect an image" 0 "$husk" inspect --verify portable.husk
prints "inspect an image" "x86-64-v2"
prints "inspect an image" "func   i32: (i32) -> i32"
prints "inspect an image" "LLVM"
run "inspect an image as JSON" 0 "$husk" inspect --json portable.husk
prints "inspect an image as JSON" '"kind":"image"'
run "inspect --files of an image that has none" 0 "$husk" inspect --files portable.husk
same "inspect --files of an image that has none" "$(cat "$scratch/out")" ""
run "inspect --files as JSON" 0 "$husk" inspect --files --json portable.husk
prints "inspect --files as JSON" '{"file":"portable.husk","files":[]}'
run "a module has no files" 125 "$husk" inspect --files typed.wasm
says "a module has no files" "needs a snapshot"
run "an image has no wasm" 125 "$husk" inspect --wasm portable.husk
if command -v objdump >/dev/null; then
    run "inspect --asm of an image" 0 "$husk" inspect --asm portable.husk
    prints "inspect --asm of an image" "ret"
    run "inspect --asm of a module" 0 "$husk" inspect --asm typed.wasm
    prints "inspect --asm of a module" "ud1"
else
    skip "inspect --asm" "no objdump (package binutils)"
fi
run "inspect --asm without objdump" 125 env PATH=/proc/absent "$husk" inspect --asm portable.husk
says "inspect --asm without objdump" "binutils"
run "validate an image" 125 "$husk" validate portable.husk
head -c 5000 portable.husk >cut.husk
run "a truncated image" 125 "$husk" inspect cut.husk
cp portable.husk changed.husk
printf X | dd of=changed.husk bs=1 seek=$(($(stat -c %s changed.husk) - 1)) conv=notrunc 2>/dev/null
run "a changed image" 125 "$husk" inspect --verify changed.husk
says "a changed image" "hash"

# ---- machines without a usable KVM ----
"$husk" compile typed.wasm -o typed.husk
chmod 755 "$scratch"
if unshare -m true 2>/dev/null; then
    hidden() { unshare -m sh -c 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && "$@"' sh "$@"; }
    run "no /dev/kvm" 125 hidden "$husk" run --invoke i32 typed.husk 1
    says "no /dev/kvm" "there is no /dev/kvm"
    says "no /dev/kvm: what to do" "modprobe kvm"
    run "no /dev/kvm: doctor" 1 hidden "$husk" doctor
    prints "no /dev/kvm: doctor" "there is no /dev/kvm"
    prints "no /dev/kvm: the compiler works" "ok       compiler"
    run "no /dev/kvm: images can be inspected" 0 hidden "$husk" inspect typed.husk
    other() { unshare -m sh -c 'mount --bind /dev/null /dev/kvm && "$@"' sh "$@"; }
    [ ! -e /dev/kvm ] || run "/dev/kvm is something else" 125 other "$husk" run --invoke i32 typed.husk 1
    [ ! -e /dev/kvm ] || says "/dev/kvm is something else" "not a KVM device"
else
    skip "no /dev/kvm" "not allowed to make a mount namespace"
fi
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
if [ "$(id -u)" = 0 ] && ! nobody true 2>/dev/null; then
    skip "no permission" "other users can run no program here"
elif [ "$(id -u)" = 0 ] && [ -e /dev/kvm ] && ! nobody test -w /dev/kvm; then
    cp "$husk" "$HUSK_BUILD/husk-compile-worker" "$scratch"
    run "no permission" 125 nobody "$scratch/husk" run --invoke i32 typed.husk 1
    says "no permission" "no permission to open /dev/kvm"
    says "no permission: what to do" "usermod"
else
    skip "no permission" "not root, or anybody may use /dev/kvm"
fi

need_kvm

# ---- doctor ----
run "doctor" 0 "$husk" doctor
prints "doctor" "a module ran in a VM of its own"
run "doctor as JSON" 0 "$husk" doctor --json
prints "doctor as JSON" '"ok":true}'

# ---- typed values ----
run "a program for threads: husk makes its memory" 0 "$husk" run --invoke spawn shared.wasm
same "a program for threads: EAGAIN" "$out" "-6:i32"
same "a program for threads: why, once" "$(grep -c "Husk has one thread per sandbox" err)" 1
run "a wait for ever ends at the time limit" 124 "$husk" run --timeout 0.05 --invoke wait shared.wasm -1
run "a wait ends at its time-out" 0 "$husk" run --invoke wait shared.wasm 1000
invoke() { # FUNCTION VALUE EXPECTED
    same "$1 $2" "$("$husk" run --invoke "$1" typed.wasm "$2" 2>&1)" "$3"
}
invoke i32 42 42:i32
invoke i32 -1 -1:i32
invoke i32 0xffffffff -1:i32
invoke i32 -2147483648 -2147483648:i32
invoke i64 -9223372036854775808 -9223372036854775808:i64
invoke i64 0xffffffffffffffff -1:i64
invoke f32 2.5 2.5:f32
invoke f32 0.1 0.1:f32
invoke f32 -nan -nan:f32
invoke f32 nan:0x12 nan:0x12:f32
invoke f64 0x1p-3 0.125:f64
invoke f64 -inf -inf:f64
invoke f64 -0 -0:f64
invoke f64 0.1 0.1:f64
invoke f64 1e400 inf:f64
invoke ext null null:externref
invoke ext 77 0x4d:externref
invoke fun null null:funcref
run "two results" 0 "$husk" run --invoke pair typed.wasm
same "two results" "$out" "1:i32
-1:i64"
run "no result" 0 "$husk" run --invoke none typed.wasm
same "no result" "$out" ""
for bad in 4294967296 -2147483649 1.5 "" 0x x1 "1 " 99999999999999999999; do
    run "not an i32: '$bad'" 2 "$husk" run --invoke i32 typed.wasm "$bad"
    says "not an i32: '$bad'" "not of type i32"
done
for bad in "" nan:0x nan:0x0 nan:0x800000 1.5x " 1" nanx; do
    run "not an f32: '$bad'" 2 "$husk" run --invoke f32 typed.wasm "$bad"
done
run "not a funcref" 2 "$husk" run --invoke fun typed.wasm 1
run "too few arguments" 2 "$husk" run --invoke i32 typed.wasm
says "too few arguments" "takes 1 argument, not 0: (i32) -> i32"
run "no such function" 125 "$husk" run --invoke nothing typed.wasm
says "no such function" "it has: i32, i64"
# --invoke behind the file: what follows FUNCTION are its arguments
behind() { # NAME EXPECTED WORDS…
    same "behind the file: $1" "$("$husk" run typed.wasm "${@:3}" 2>&1)" "$2"
}
behind "a function" 42:i32 --invoke i32 42
behind "in one word" 42:i32 --invoke=i32 42
behind "a negative argument" -5:i32 --invoke i32 -5
behind "a negative float" -inf:f64 --invoke=f64 -inf
run "behind the file: as JSON" 0 "$husk" run --json typed.wasm --invoke i32 -1
same "behind the file: as JSON" "$out" '{"outcome":"returned","results":[{"type":"i32","value":-1}]}'
run "behind the file: options are arguments" 2 "$husk" run typed.wasm --invoke i32 --json
says "behind the file: options are arguments" "'--json' is not of type i32"
run "behind the file: after --" 125 "$husk" run -- typed.wasm --invoke i32 1
says "behind the file: after --" "exports no _start"
run "behind the file: -- as an option's argument ends nothing" 0 "$husk" run --env -- typed.wasm --invoke i32 1
run "behind the file: not in second place" 125 "$husk" run typed.wasm x --invoke i32
run "behind the file: a longer word" 125 "$husk" run typed.wasm --invoked i32 1
run "behind the file: the first one counts" 2 "$husk" run --invoke i32 typed.wasm --invoke i64
says "behind the file: the first one counts" "takes 1 argument, not 2"
run "results as JSON" 0 "$husk" run --json --invoke pair typed.wasm
same "results as JSON" "$out" '{"outcome":"returned","results":[{"type":"i32","value":1},{"type":"i64","value":"-1"}]}'
run "a NaN as JSON" 0 "$husk" run --json --invoke f64 typed.wasm nan
prints "a NaN as JSON" '"value":"nan"'

# ---- traps and limits ----
run "a trap" 134 "$husk" run --invoke trap typed.wasm
says "a trap" "trap: unreachable"
says "a trap" "0: inner at 0x"
says "a trap" "1: outer at 0x"
run "a trap as JSON" 134 "$husk" run --json --invoke trap typed.wasm
prints "a trap as JSON" '"outcome":"trapped"'
prints "a trap as JSON" '"name":"inner"'
run "a time limit" 124 "$husk" run --timeout 100ms --invoke spin typed.wasm
says "a time limit" "time limit"
run "a time limit as JSON" 124 "$husk" run --json --timeout 100ms --invoke spin typed.wasm
prints "a time limit as JSON" '{"outcome":"deadline","limit":"wall","message":'
run "a CPU time limit" 124 "$husk" run --cpu-timeout 50ms --invoke spin typed.wasm
invoke grow 1 1:i32
same "a memory limit" "$("$husk" run --max-memory 64K --invoke grow typed.wasm 1)" -1:i32
echo '(module (memory 1) (func (export "_start") (if (i32.eq (memory.grow (i32.const 10)) (i32.const -1)) (then unreachable))))' >greedy.wat
wat2wasm greedy.wat -o greedy.wasm
run "a program fails at its memory limit" 134 "$husk" run --max-memory 128K greedy.wasm
says "a program fails at its memory limit" "memory limit: the program has 64 KiB, and was refused more 1 time (--max-memory is 128 KiB)"
run "a program does not get to its memory limit" 0 "$husk" run --max-memory 1M greedy.wasm
run "a memory limit below what the module needs" 125 "$husk" run --max-memory 4K --invoke grow typed.wasm 1
run "not a program" 125 "$husk" run typed.wasm
says "not a program" "exports no _start"
says "not a program" "--invoke FUNCTION, directly behind the file"
run "an image runs" 0 "$husk" run --invoke i32 portable.husk 5
same "an image runs" "$out" 5:i32
same "an image from a pipe" "$(cat portable.husk | "$husk" run --invoke i32 - 6 2>&1)" 6:i32
run "a truncated image does not" 125 "$husk" run --invoke i32 cut.husk 5
for signal in INT:130 TERM:143 HUP:129; do
    env --default-signal "$husk" run --invoke spin typed.husk 2>err &
    sleep 1
    kill -${signal%:*} $!
    wait $!
    same "${signal%:*}: exit code" $? ${signal#*:}
    contains "${signal%:*}" "$(cat err)" "interrupted"
done
env --ignore-signal=INT "$husk" run --timeout 2s --invoke spin typed.husk 2>err &
sleep 1
kill -INT $!
wait $!
same "an ignored signal stays ignored" $? 124
run "statistics" 0 "$husk" run --stats --invoke none typed.wasm
says "statistics" "sandbox"

# ---- the cache ----
rm -rf cache
run "first run" 0 "$husk" run --stats --invoke none typed.wasm
says "first run" "compile "
run "second run" 0 "$husk" run --stats --invoke none typed.wasm
says "second run" "load from the cache"
run "--no-cache" 0 "$husk" run --no-cache --stats --invoke none typed.wasm
says "--no-cache" "compile "
run "another level is another entry" 0 "$husk" run -O0 --stats --invoke none typed.wasm
says "another level is another entry" "compile "
run "a cache that cannot be made" 0 env HUSK_CACHE_DIR=/dev/null/x "$husk" run --invoke i32 typed.wasm 3
same "a cache that cannot be made costs no result" "$out" 3:i32
says "a cache that cannot be made" "warning: "
for entry in cache/*; do [ -d "$entry" ] || echo garbage >"$entry"; done
run "garbage in the cache" 0 "$husk" run --invoke i32 typed.wasm 3
same "garbage in the cache costs no result" "$out" 3:i32

# ---- programs ----
program=$HUSK_BUILD/examples/program.wasm
if ! [ -f "$program" ]; then
    skip "programs" "no clang with wasi-libc to compile them"
    finish
fi
run "hello" 0 "$husk" run "$program"
same "hello" "$out" "hello, world"
same "arguments" "$("$husk" run "$program" args one "two  three" --timeout)" "0: program.wasm
1: args
2: one
3: two  three
4: --timeout"
run "a program's own --invoke" 2 "$husk" run -- "$program" --invoke args
says "a program's own --invoke" "program: what is '--invoke'?"
same "environment" "$("$husk" run --env NAME=a=b "$program" env NAME)" "NAME=a=b"
same "environment: nothing by itself" "$("$husk" run "$program" env HOME)" "HOME=(not set)"
same "environment: passed on" "$(PASSED=on "$husk" run --env PASSED --env NOT_SET_HERE "$program" env PASSED)" "PASSED=on"
same "environment: inherited" "$(PASSED=on "$husk" run --inherit-env PASSED --inherit-env NOT_SET_HERE "$program" env PASSED)" "PASSED=on"
same "environment: inherited, and not set here" "$(unset PASSED; "$husk" run --env PASSED=x --inherit-env PASSED "$program" env PASSED)" \
    "PASSED=(not set)"
run "environment: inherited with a value" 2 "$husk" run --inherit-env A=b "$program"
says "environment: inherited with a value" "--inherit-env wants a NAME, not 'A=b'"
printf '# a comment\n\n  # one more\nONE=1\nTWO= "two = 2" \r\nONE=uno\nEMPTY=\nLAST=end' >env-file
same "a file of variables" "$("$husk" run --env TWO=x --env-file env-file "$program" env TWO)" 'TWO= "two = 2" '
same "a file of variables: the last one of a name" "$("$husk" run --env-file env-file "$program" env ONE)" "ONE=uno"
same "a file of variables: then an option" "$("$husk" run --env-file env-file --env ONE=2 "$program" env ONE)" "ONE=2"
same "a file of variables: its last line" "$("$husk" run --env-file env-file "$program" env LAST)" "LAST=end"
printf '\xef\xbb\xbfONE=1\r\n' >env-file
same "a file of variables: a byte order mark" "$("$husk" run --env-file env-file "$program" env ONE)" "ONE=1"
bad_env() { # NAME FORMAT PART
    printf "$2" >env-file
    run "a file of variables: $1" 2 "$husk" run --env-file env-file "$program" env ONE
    says "a file of variables: $1" "$3"
}
bad_env "no =" 'ONE=1\n\nTWO\n' "env-file, line 3: there is no '='"
bad_env "no name" '=1' "line 1: the name is empty"
bad_env "blanks" 'A=\nexport B=1\n' "line 2: the name is empty, or has blanks"
bad_env "a NUL" 'A=1\nB=\0x\n' "line 2: it has a NUL"
run "a file of variables: missing" 2 "$husk" run --env-file nowhere "$program"
says "a file of variables: missing" "--env-file: nowhere: No such file"
head -c 17000000 /dev/zero | tr '\0' '#' >env-file
run "a file of variables: too large" 2 "$husk" run --env-file env-file "$program"
says "a file of variables: too large" "more than 16 MiB"
rm env-file
same "reproducible: the clock" "$("$husk" run --reproducible "$program" time; "$husk" run --reproducible=7 "$program" time)" \
    "$(printf '946684800.000 946684800.001 946684801.002\n%.0s' 1 2)"
same "reproducible: the same random numbers" "$("$husk" run --reproducible "$program" random)" "$("$husk" run --reproducible=1 "$program" random)"
check "reproducible: others for another seed" test "$("$husk" run --reproducible=0xff "$program" random)" != "$("$husk" run --reproducible "$program" random)"
check "not reproducible" test "$("$husk" run "$program" random)" != "$("$husk" run "$program" random)"
for seed in 0 -1 x "" 18446744073709551616 1x; do
    run "reproducible: seed '$seed'" 2 "$husk" run "--reproducible=$seed" "$program"
    says "reproducible: seed '$seed'" "--reproducible wants a seed"
done
run "an exit code" 7 "$husk" run "$program" exit 7
run "exit code 255" 255 "$husk" run "$program" exit -1
run "standard error" 0 "$husk" run "$program" stderr
same "standard error" "$out|$err" "|to stderr"
seq 200000 >numbers
check "a large input through" sh -c "'$husk' run '$program' cat <numbers | cmp - numbers"
same "words of a file" "$("$husk" run "$program" count <numbers)" "200000 lines, 200000 words, $(stat -c %s numbers) bytes"
same "a pipe in" "$(cat numbers | "$husk" run "$program" count)" "200000 lines, 200000 words, $(stat -c %s numbers) bytes"
run "a failed read" 134 "$husk" run "$program" fail read
says "a failed read" "out of bounds memory access"
says "a failed read" "wild_read"
says "a failed read" "program.c:"
run "a division by zero" 134 "$husk" run "$program" fail divide
says "a division by zero" "integer divide by zero"
run "an abort" 134 "$husk" run "$program" fail abort
run "an endless recursion" 134 "$husk" run "$program" fail recurse
says "an endless recursion" "recurse"
run "no files" 5 "$husk" run "$program" open /etc/passwd
says "no files" "apabilities insufficient"
start=$(date +%s%N)
run "a sleep is cut off" 124 "$husk" run --timeout 200ms "$program" sleep 60000
check "a sleep is cut off in time" test $(($(date +%s%N) - start)) -lt 20000000000
run "a sleep" 0 "$husk" run "$program" sleep 10
sleep 5 | timeout 20 "$husk" run --timeout 200ms "$program" cat >/dev/null 2>err
same "a read from a silent pipe is cut off: exit code" "${PIPESTATUS[1]}" 124
same "a reader that goes away ends the program, not husk" "$("$husk" run "$program" yes 2>err | head -n 2 | tr '\n' ' ')$(cat err)" "y y stdout: Broken pipe"
run "closed standard streams" 0 sh -c "'$husk' run '$program' exit 0 <&- 2>&-"
finish
