# tests/cli/user_test.sh: what people do and give by mistake, and what husk then says: missing imports, functions that are not there,
# files that are no modules, readers that go away, limits, names that hide something. What needs KVM comes last.
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
says_not() {
    case $err in
    *"$2"*) fail "$1" "\"$2\" in: $err" ;;
    *) pass ;;
    esac
}

# ---- husk(1) and --help name the same commands and options ----
man=$HUSK_SOURCE/docs/man
commands=$("$husk" help | sed -n 's/^  husk \([a-z]*\).*/\1/p')
check "husk help lists commands" test "$(wc -w <<<"$commands")" -ge 8
for command in $commands; do
    check "husk(1) has husk $command" grep -q "^\.It Cm $command" "$man/husk.1"
    check "husk(1)'s synopsis has husk $command" grep -q "^\.Cm $command$" "$man/husk.1"
done
for command in $(sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' "$man/husk.1"); do
    run "husk $command exists" 0 "$husk" help "$command"
done
help_options() { "$husk" "$1" --help | grep -o -e '\(^\|[ (,]\)--\?[a-zA-Z][a-z0-9-]*' | tr -d ' (,' | sort -u | grep -v -x -e -h -e --help -e -emit-llvm; }
man_options() { # .Fl -name is --name, .Fl o is -o; of lines that begin with .It or .Op
    grep -h -E '^\.(It|Op) Fl' "$@" | grep -o 'Fl -\?[a-zA-Z][a-z0-9-]*' | sed 's/^Fl /-/' | sort -u
}
for command in run snapshot compile inspect validate cache doctor; do
    pages=("$man/husk-$command.1")
    [ $command != snapshot ] || pages+=("$man/husk-run.1") # "the other options of husk-run"
    same "options of husk $command" "$(help_options $command | tr '\n' ' ')" "$(man_options "${pages[@]}" | tr '\n' ' ')"
done

# ---- files that are no modules ----
printf '\x28\xb5\x2f\xfd\x00\x00' >a.wasm.zst
printf '\x1f\x8b\x08\x00' >a.wasm.gz
echo 'var Module = typeof Module != "undefined" ? Module : {};' >a.js
printf '(; text ;) (module)' >a.wat
cp "$(type -P true)" native
for command in run validate compile inspect; do
    code=125
    [ $command != validate ] || code=1
    run "$command: zstd" $code "$husk" $command a.wasm.zst
    says "$command: zstd" "a.wasm.zst: is a zstd-compressed file; decompress it first: zstd -d"
    run "$command: gzip" $code "$husk" $command a.wasm.gz
    says "$command: gzip" "gzip -d"
    run "$command: JavaScript" $code "$husk" $command a.js
    says "$command: JavaScript" "is JavaScript"
    run "$command: text" $code "$husk" $command a.wat
    says "$command: text" "wat2wasm"
    run "$command: a native program" $code "$husk" $command native
    says "$command: a native program" "is a native program"
done

if ! command -v wat2wasm >/dev/null; then
    skip "the rest" "no wat2wasm (package wabt) to make modules with"
    finish
fi
make_wasm() { # NAME TEXT
    printf '%s' "$2" >"$1.wat"
    wat2wasm --debug-names --enable-all "$1.wat" -o "$1.wasm" || fail "$1" "wat2wasm"
}

# ---- valid, not valid, not supported ----
make_wasm good '(module (func (export "f")))'
make_wasm simd '(module (func (export "f") (result i32) (i32x4.extract_lane 0 (v128.const i32x4 1 2 3 4))))'
make_wasm later '(module (type (struct (field i32))))'
make_wasm tail '(module (func $f (return_call $f)) (func (result v128) v128.const i32x4 0 0 0 0))'
printf '(module (func (result i32) i64.const 0))' >bad.wat
wat2wasm --no-check bad.wat -o bad.wasm || fail bad "wat2wasm"
run "valid" 0 "$husk" validate good.wasm
run "invalid" 1 "$husk" validate bad.wasm
run "not supported" 3 "$husk" validate later.wasm
says "not supported" "the module needs garbage collection"
run "not supported, to compile" 125 "$husk" compile later.wasm
says "not supported, to compile" "the module needs garbage collection"
run "two disabled" 3 "$husk" validate --disable simd,tail-calls tail.wasm
says "two disabled" "the module needs SIMD and tail calls: build it without (clang -mno-simd128"
says "two disabled" "clang -mno-tail-call"
run "SIMD" 0 "$husk" validate simd.wasm
run "SIMD, JSON" 0 "$husk" validate --json simd.wasm
same "SIMD, JSON" "$out" '{"file":"simd.wasm","valid":true}'
run "disabled SIMD" 3 "$husk" validate --disable simd --json simd.wasm
prints "disabled SIMD" '{"file":"simd.wasm","valid":true,"supported":false,"message":"uses SIMD (v128.const)'
make_wasm memories '(module (memory 1) (memory 1))'
run "nothing disabled" 0 "$husk" validate --disable simd memories.wasm
run "disabled" 3 "$husk" validate --disable simd,multi-memory memories.wasm
says "disabled" "is valid, but uses multiple memories (a second memory), which is disabled"
run "disabled, to compile" 125 "$husk" compile --disable multi-memory memories.wasm
says "disabled, to compile" "the module needs multiple memories: build it without (clang -mno-multimemory)"
run "disabled: a name that does not exist" 125 "$husk" compile --disable simt memories.wasm
says "disabled: a name that does not exist" 'there is no feature "simt"; there are simd '
run "features" 0 "$husk" inspect memories.wasm
prints "features" "multi-memory"
make_wasm vector '(module (func (export "f") (param v128) (result v128) local.get 0))'
run "a vector's type" 0 "$husk" inspect vector.wasm
prints "a vector's type" 'func   f: (v128) -> v128'
vector() { # TEXT RESULT
    run "vector $1" 0 "$husk" run vector.wasm --invoke f "$1"
    same "vector $1" "$out" "$2:v128"
}
if [ -w /dev/kvm ]; then
    vector i32x4:1,2,-1,0x10 0x00000010ffffffff0000000200000001
    vector i8x16:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,255 0xff0e0d0c0b0a09080706050403020100
    vector f64x2:1,-nan 0xfff80000000000003ff0000000000000
    vector f32x4:0,1,inf,1e1 0x412000007f8000003f80000000000000
    vector 0xabc 0x00000000000000000000000000000abc
    for text in i32x4:1,2,3 i32x4:1,2,3,4,5 i8x16:256 i64x2:1,, 0x 0x000000000000000000000000000000001 1 f32x4:1,2,3,x; do
        run "no vector: $text" 2 "$husk" run vector.wasm --invoke f "$text"
    done
fi
run "several: not valid is worse than not supported" 1 "$husk" validate later.wasm bad.wasm good.wasm
run "several: not supported is worse than valid" 3 "$husk" validate good.wasm later.wasm good.wasm
run "several: not read is the worst" 125 "$husk" validate later.wasm missing.wasm bad.wasm

# ---- names ----
make_wasm names '(module (import "a.b" "c\e2\80\ae" (func)) (func (export "a\00b") (result i32) i32.const 7)
    (func (export "a\\b") (result i32) i32.const 8) (func (export "zero\e2\80\8bwidth"))
    (func (export "x: (i32) -> i32")) (func (export "")) (func (export "q\"q")))'
run "names" 0 "$husk" inspect names.wasm
prints "a dot" 'func   "a.b".c\e2\80\ae: () -> ()'
prints "a NUL" 'func   a\00b: () -> i32'
prints "a backslash" 'func   a\\b: () -> i32'
prints "zero width" 'func   zero\e2\80\8bwidth: () -> ()'
prints "a name like a type" 'func   "x: (i32) -> i32": () -> ()'
prints "no name" 'func   "": () -> ()'
prints "a quotation mark" 'func   q\"q: () -> ()'
run "names in the disassembly" 0 "$husk" inspect --wasm names.wasm
prints "names in the disassembly" '(export "a\00b"'
prints "names in the disassembly" '"c\e2\80\ae"'
run "names in JSON" 0 "$husk" inspect --json names.wasm
prints "names in JSON" '"name":"a\u0000b"'
prints "names in JSON" '"c\u202e"'
prints "names in JSON" '"a\\b"'
run "not a name" 2 "$husk" run --invoke 'a\b' names.wasm
says "not a name" 'a backslash is written \\'

# ---- readers that go away ----
"$husk" compile good.wasm -o good.husk || fail "compile" "good.wasm"
{ # more than a pipe holds
    echo '(module'
    for i in $(seq 3000); do echo "(func (export \"function_number_$i\") (param i32) (result i32) local.get 0 i32.const $i i32.div_u)"; done
    echo ')'
} >long.wat
wat2wasm long.wat -o long.wasm || fail long "wat2wasm"
quiet() { # NAME COMMAND…: nothing on standard error, ended by SIGPIPE or done before
    local name=$1 code
    shift
    ("$@" 2>"$scratch/err"; echo $? >"$scratch/code") | head -c 1 >/dev/null
    same "$name: quiet" "$(cat "$scratch/err")" ""
    code=$(cat "$scratch/code")
    same "$name: exit code" "$code" 141
}
quiet "inspect | head" "$husk" inspect long.wasm
quiet "inspect --wasm | head" "$husk" inspect --wasm long.wasm
quiet "inspect --json | head" "$husk" inspect --json long.wasm
if command -v objdump >/dev/null; then
    "$husk" inspect --asm long.wasm >/dev/null 2>&1 # in the cache from now on
    quiet "inspect --asm | head" "$husk" inspect --asm long.wasm
else
    skip "inspect --asm | head" "no objdump"
fi
(
    failed=0
    trap '' PIPE # as children of some programs start
    quiet "inspect --wasm | head, SIGPIPE ignored" "$husk" inspect --wasm long.wasm
    quiet "inspect | head, SIGPIPE ignored" "$husk" inspect long.wasm
    exit "$failed"
) || fail "SIGPIPE ignored" "see above"
run "a full disk" 125 sh -c "'$husk' inspect --wasm long.wasm >/dev/full"
says "a full disk" "cannot write to standard output"

# ---- limits of this process ----
for kib in 4 16; do
    run "ulimit -f $kib" 125 sh -c "ulimit -f $((kib * 2)) && exec '$husk' compile long.wasm -o long.husk"
    says "ulimit -f $kib" "ulimit -f"
done
check "no output is left" test ! -e long.husk
run "ulimit -f for standard output" 125 sh -c "ulimit -f 8 && exec '$husk' inspect --wasm long.wasm >listing"
says "ulimit -f for standard output" "ulimit -f"

# ---- the compiler's limits ----
run "a bad limit" 2 "$husk" compile --compile-cpu-limit x long.wasm
run "a limit of nothing" 2 "$husk" compile --compile-memory-limit 0 long.wasm
{ # seconds of work, whatever the machine
    echo '(module (memory 1)'
    for i in $(seq 4000); do
        echo "(func (export \"f$i\") (param i32 i32) (result i32) (loop \$l (br_if \$l (i32.lt_u (local.tee 0 (i32.add (i32.load (local.get 0)) (i32.mul (local.get 1) (i32.const $i)))) (i32.div_u (local.get 1) (i32.load offset=$i (local.get 0)))))) local.get 0)"
    done
    echo ')'
} >work.wat
wat2wasm work.wat -o work.wasm || fail work "wat2wasm"
run "too little CPU time" 125 "$husk" compile -O3 --compile-cpu-limit 1s work.wasm -o work.husk
says "too little CPU time" "compiling took more than 1 seconds of CPU time"
says "too little CPU time" "--compile-cpu-limit"
run "too little memory" 125 "$husk" compile --compile-memory-limit 40M work.wasm -o work.husk
says "too little memory" "--compile-memory-limit"

need_kvm

# ---- imports ----
make_wasm imports '(module (import "env" "memcpy_js" (func $js (param i32 i32 i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "env" "invoke_ii" (func (param i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const 3))) (func (export "js") (call $js (i32.const 1) (i32.const 2) (i32.const 3)))
    (func (export "fine") (result i32) i32.const 42))'
make_wasm memory '(module (import "env" "memory" (memory 1)) (func (export "_start")))'
make_wasm wrong '(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i64))) (func (export "_start")))'
rm -rf cache
run "missing imports" 125 "$husk" run imports.wasm
says "missing imports" "imports.wasm: needs 2 imports that husk run does not give, which is WASI preview 1 only:"
says "missing imports" "func   env.memcpy_js: (i32, i32, i32) -> ()"
says "missing imports" "func   env.invoke_ii: (i32) -> i32"
says "missing imports" "--unknown-imports trap"
says_not "missing imports" "proc_exit"
check "missing imports: nothing was compiled" test ! -e cache
run "missing imports, snapshot" 125 "$husk" snapshot imports.wasm --invoke fine -o imports.husk
says "missing imports, snapshot" "needs 2 imports that husk snapshot does not give"
run "missing imports, JSON" 125 "$husk" run --json --invoke fine imports.wasm
prints "missing imports, JSON" '"status":"HUSK_E_LINK"'
prints "missing imports, JSON" '{"kind":"func","module":"env","name":"invoke_ii","params":["i32"],"results":["i32"]}'
same "missing imports, JSON: nothing on stderr" "$err" ""
run "unknown imports that are not called" 3 "$husk" run --unknown-imports trap imports.wasm
run "unknown imports: another function" 0 "$husk" run --unknown-imports=trap imports.wasm --invoke fine
same "unknown imports: another function" "$out" "42:i32"
run "an unknown import is called" 134 "$husk" run --unknown-imports trap --invoke js imports.wasm
says "an unknown import is called" 'trap: the module called the unknown import "env.memcpy_js"'
says "an unknown import is called" "js at 0x"
run "unknown imports in a snapshot" 0 "$husk" snapshot --unknown-imports trap imports.wasm --invoke fine -o imports.husk
run "unknown imports of a snapshot" 125 "$husk" run imports.husk
says "unknown imports of a snapshot" "func   env.memcpy_js"
run "unknown imports of a snapshot, to trap" 3 "$husk" run --unknown-imports trap imports.husk
run "a memory that is not there" 125 "$husk" run --unknown-imports trap memory.wasm
says "a memory that is not there" "memory env.memory: 1 pages"
says_not "a memory that is not there" "--unknown-imports"
run "WASI of another type" 125 "$husk" run --unknown-imports trap wrong.wasm
says "WASI of another type" "func   wasi_snapshot_preview1.proc_exit: (i64) -> ()"
make_wasm object '(module (import "env" "__linear_memory" (memory 0)) (import "env" "puts" (func (param i32) (result i32))))'
run "an object file" 125 "$husk" run object.wasm
says "an object file" "It is an object file: link it first"
run "a choice that is none" 2 "$husk" run --unknown-imports ignore imports.wasm

# ---- functions that are not there, and arguments that do not fit, before anything is compiled ----
rm -rf cache

run "no such function" 125 "$husk" run --unknown-imports trap names.wasm --invoke nothing
says "no such function" "exports no function 'nothing'; it has: a\\00b, a\\\\b, zero\\e2\\80\\8bwidth"
run "no program" 125 "$husk" run good.wasm
says "no program" "is not a program (it exports no _start)"
run "arguments that do not fit" 2 "$husk" run good.wasm --invoke f 1
says "arguments that do not fit" "f takes 0 arguments, not 1: () -> ()"
check "nothing was compiled" test ! -e cache

# ---- names to call ----
run "a name with a NUL" 0 "$husk" run --unknown-imports trap --invoke 'a\00b' names.wasm
same "a name with a NUL" "$out" "7:i32"
run "a name with a backslash" 0 "$husk" run --unknown-imports trap names.wasm --invoke 'a\\b'
same "a name with a backslash" "$out" "8:i32"
run "a name with a NUL, image" 0 sh -c "'$husk' compile names.wasm && '$husk' run --unknown-imports trap --invoke 'a\\00b' names.husk"
same "a name with a NUL, image" "$out" "7:i32"

# ---- arguments and environment ----
cat >args.wat <<'WAT'
(module (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func $print (param $count i32) ;; what is at 4096 on, with its NULs
        (i32.store (i32.const 16) (i32.const 4096)) (i32.store (i32.const 20) (local.get $count))
        (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))))
    (func (export "_start")
        (drop (call $args_sizes (i32.const 0) (i32.const 4)))
        (drop (call $args (i32.const 1024) (i32.const 4096))) (call $print (i32.load (i32.const 4)))
        (drop (call $env_sizes (i32.const 0) (i32.const 4)))
        (drop (call $env (i32.const 1024) (i32.const 4096))) (call $print (i32.load (i32.const 4)))))
WAT
mkdir folder
wat2wasm args.wat -o folder/args.wasm || fail args "wat2wasm"
guest_sees() { "$husk" run "$@" </dev/null | tr '\0' '|'; }
same "the first argument is the file's name" "$(guest_sees folder/args.wasm one)" "args.wasm|one|"
same "the first argument is the file's name, absolute" "$(guest_sees "$PWD/folder/args.wasm")" "args.wasm|"
same "--argv0" "$(guest_sees --argv0 /usr/bin/tool folder/args.wasm one)" "/usr/bin/tool|one|"
same "--argv0, empty" "$(guest_sees --argv0 '' folder/args.wasm one)" "|one|"
same "an image" "$("$husk" compile folder/args.wasm && guest_sees ./folder/args.husk)" "args.husk|"
same "standard input" "$("$husk" run - <folder/args.wasm | tr '\0' '|')" "-|"
same "the last --env counts" "$(guest_sees --env A=1 --env B=2 --env A=3 --env AB=4 folder/args.wasm)" "args.wasm|A=3|B=2|AB=4|"
same "--env of husk's own, last" "$(A=own guest_sees --env A=1 --env A folder/args.wasm)" "args.wasm|A=own|"
same "--env of husk's own, first" "$(A=own guest_sees --env A --env A= folder/args.wasm)" "args.wasm|A=|"
same "--env of what is not set" "$(unset A && guest_sees --env A=1 --env B=2 --env A folder/args.wasm)" "args.wasm|B=2|"

# ---- time-outs ----
make_wasm spin '(module (func (export "_start") (loop br 0)))'
run "a wall limit" 124 "$husk" run --timeout 300ms spin.wasm
says "a wall limit" "wall limit of 300 ms"
run "a CPU limit" 124 "$husk" run --cpu-timeout 0.2s --timeout 10m spin.wasm
says "a CPU limit" "CPU limit of 200 ms"
run "a limit in JSON" 124 "$husk" run --timeout 200ms --json spin.wasm --invoke _start
prints "a limit in JSON" "wall limit of 200 ms"

# ---- backtraces ----
make_wasm deep '(module (memory 1) (global $sp (mut i32) (i32.const 65536))
    (func $self (param i32) (result i32) (i32.add (i32.const 1) (call $self (i32.load (local.get 0)))))
    (func $outer (export "self") (param i32) (result i32) (call $self (local.get 0)))
    (func $ping (export "ping") (param i32) (result i32) (i32.add (i32.const 1) (call $pong (i32.load (local.get 0)))))
    (func $pong (param i32) (result i32) (i32.xor (i32.const 5) (call $ping (i32.load offset=4 (local.get 0)))))
    (func $down (param i32) (result i32) (if (result i32) (local.get 0)
        (then (i32.add (i32.load (i32.const 8)) (call $down (i32.sub (local.get 0) (i32.const 1))))) (else (unreachable))))
    (func (export "ends") (result i32) (i32.add (i32.const 1) (call $down (i32.const 100)))))'
run "a function that calls itself" 134 "$husk" run -O0 deep.wasm --invoke self 0
check "a function that calls itself: one line" test "$(grep -c ': self at 0x' err)" -le 2
check "a function that calls itself: how often" grep -q -E '^ +… [0-9]+ more of self$' err
says "a function that calls itself: who called it" ": outer at 0x"
run "two that call each other" 134 "$husk" run -O0 deep.wasm --invoke ping 0
check "two that call each other: few lines" test "$(wc -l <err)" -le 8
check "two that call each other: how often" grep -q -E '^ +… [0-9]+ more of the same 2$' err
check "two that call each other: the rest" grep -q -E '^  … [0-9]+ more$' err
run "numbers go on behind repeats" 134 "$husk" run -O0 deep.wasm --invoke ends
check "numbers go on behind repeats" grep -q -E '^  1[0-9][0-9]: ' err
run "repeats in JSON" 134 "$husk" run -O0 --json deep.wasm --invoke ends
prints "repeats in JSON" '"repeats":'

# ---- a C program's own stack ----
cat >stack.c <<'C'
#include <stdio.h>
int main(void) { char b[65536]; size_t n; while ((n = fread(b, 1, sizeof b, stdin)) > 0) fwrite(b, 1, n, stdout); return 0; }
C
clang=$("$HUSK_SOURCE/tools/find-llvm-tool" clang 2>/dev/null) || clang=clang
# shellcheck disable=SC2207
wasm_cc=("$clang" --target=wasm32-wasi --sysroot=/usr -O2 -Wno-deprecated $("$HUSK_SOURCE/tools/no-wasm-opt" "$clang" 2>/dev/null))
linker=$(command -v "wasm-ld-${clang#clang-}") && wasm_cc+=("-fuse-ld=$linker")
if "${wasm_cc[@]}" stack.c -o stack.wasm 2>/dev/null; then
    run "64 KiB on a stack of 64 KiB" 134 sh -c "echo hello | '$husk' run stack.wasm"
    says "64 KiB on a stack of 64 KiB" "out of bounds"
    says "64 KiB on a stack of 64 KiB" "-Wl,-z,stack-size="
    "${wasm_cc[@]}" -Wl,-z,stack-size=262144 stack.c -o stack.wasm
    same "with a larger stack" "$(echo hello | "$husk" run stack.wasm)" hello
else
    skip "64 KiB on a stack of 64 KiB" "no clang with wasi-libc in /usr"
fi

finish
