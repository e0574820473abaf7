# tests/cli/link_test.sh: --link of husk compile and run: names, aliases, mistakes; and two position-independent side modules, as
# dynamic linking of C makes them (tool conventions: DynamicLinking.md), at different places in one memory.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
in_scratch

for command in compile run snapshot; do
    contains "husk $command --help" "$("$husk" $command --help)" "--link"
    for bad in env =env.wasm env= env=env.wasm, env=env.wasm,a.b env=env.wasm,a=b.c env=env.wasm,a.b=c; do
        out=$("$husk" $command --link "$bad" main.wasm -o out.husk 2>&1)
        same "husk $command --link $bad: exit code" $? 2
        contains "husk $command --link $bad" "$out" "--link wants NAME=FILE"
    done
done

need_wat2wasm "what it does"
cat >env.wat <<'WAT'
(module (memory (export "memory") 1) (global (export "one") i32 (i32.const 100)) (global (export "t.w,o=") i32 (i32.const 200)))
WAT
cat >side.wat <<'WAT'
(module (import "env" "memory" (memory 1)) (import "env" "base" (global $base i32))
  (func $boom (export "boom") (param i32) (unreachable))
  (func (export "base") (result i32) (global.get $base)) (data (global.get $base) "side\n"))
WAT
cat >main.wat <<'WAT'
(module (import "env" "memory" (memory 1)) (import "a" "base" (func $a (result i32))) (import "b" "base" (func $b (result i32)))
  (import "b" "boom" (func $boom (param i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (func (export "sum") (result i32) (i32.add (call $a) (call $b)))
  (func (export "boom") (call $boom (i32.const 0)))
  (func (export "_start") (i32.store (i32.const 0) (call $b)) (i32.store (i32.const 4) (i32.const 5))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))))
WAT
for module in env side main; do
    wat2wasm --debug-names $module.wat -o $module.wasm || fail setup "wat2wasm $module.wat"
done
links=(--link env=env.wasm --link a=side.wasm,env.base=env.one --link 'b=side.wasm,env.base=env.t\2ew\2co\3d')
check "compile" "$husk" compile "${links[@]}" main.wasm -o out.husk
contains "inspect: exports of the others" "$("$husk" inspect out.husk)" "func   b/base: () -> i32"
contains "inspect: exports of the last one" "$("$husk" inspect out.husk)" "func   sum: () -> i32"
out=$("$husk" compile --link env=env.wasm --link env=side.wasm main.wasm -o bad.husk 2>&1)
same "equal names: exit code" $? 125
contains "equal names" "$out" 'two modules have the name "env"'
out=$("$husk" compile --link a=side.wasm,env.base=x.y main.wasm -o bad.husk 2>&1)
contains "an alias to nothing" "$out" '"a" has an alias for "x.y", but no module has that name'
echo '(module (func (export "memory")))' >wrong.wat
wat2wasm wrong.wat -o wrong.wasm
out=$("$husk" compile --link env=wrong.wasm main.wasm -o bad.husk 2>&1)
contains "the wrong kind" "$out" '"main" imports memory "env.memory": 1 or more; "env.memory" is a function: () -> ()'
out=$("$husk" compile --link env=none.wasm main.wasm -o bad.husk 2>&1)
contains "no such file" "$out" "--link env=none.wasm: cannot open"
out=$("$husk" compile --link env=out.husk main.wasm -o bad.husk 2>&1)
contains "an image" "$out" "only modules can be linked"
need_kvm
same "run" "$("$husk" run "${links[@]}" main.wasm)" side
same "run the image" "$("$husk" run out.husk)" side
same "run --invoke" "$("$husk" run "${links[@]}" --invoke sum main.wasm)" 300:i32
contains "the cache" "$("$husk" run "${links[@]}" --stats main.wasm 2>&1)" "load from the cache"
contains "another alias is another image" "$("$husk" run "${links[@]:0:4}" --link b=side.wasm,env.base=env.one --stats main.wasm 2>&1)" \
    "KVM"
out=$("$husk" run --invoke boom out.husk 2>&1)
contains "backtrace: the callee" "$out" "b/boom"
contains "backtrace: the caller" "$out" "main/boom"
out=$("$husk" run --link env=env.wasm main.wasm 2>&1)
contains "what is missing" "$out" "a.base: () -> i32"
out=$("$husk" run "${links[@]}" out.husk 2>&1)
contains "an image cannot be linked again" "$out" "--link links modules"

# ---- Side modules ----

clang=$("$HUSK_SOURCE/tools/find-llvm-tool" clang 2>/dev/null) && ld=$("$HUSK_SOURCE/tools/find-llvm-tool" wasm-ld 2>/dev/null) ||
    { skip "side modules of C" "no clang and wasm-ld"; finish; }
cat >side.c <<'C'
extern int shared_count;                             /* of another module: GOT.mem */
int twice(int);
unsigned long strlen(const char *);
static int calls;                                    /* in this module's part of the memory */
static const char *const words[] = {"zero", "one", "three"}; /* relocated */
static int plus(int n) { return n + STEP; }
static int minus(int n) { return n - STEP; }
int (*choose(int which))(int) { return which ? plus : minus; } /* in this module's part of the table */
int length(int which) { return (int)strlen(words[which]); }
int count(void) { shared_count++; return ++calls; }
int call(int (*fn)(int), int n) { return twice(fn(n)); }
C
cat >libc.c <<'C'
int shared_count = 40;
int twice(int n) { return 2 * n; }
unsigned long strlen(const char *text) { unsigned long n = 0; while (text[n]) n++; return n; }
C
cat >program.c <<'C'
typedef int (*fn_t)(int);
#define FROM(module, name) __attribute__((import_module(#module), import_name(#name)))
#define SIDE(side)                                                                                 \
    FROM(side, __wasm_apply_data_relocs) void side##_relocate(void);                               \
    FROM(side, choose) fn_t side##_choose(int which);                                              \
    FROM(side, length) int side##_length(int which);                                               \
    FROM(side, count) int side##_count(void);                                                      \
    FROM(side, call) int side##_call(fn_t fn, int n);
SIDE(one)
SIDE(two)
static int square(int n) { return n * n; }
__attribute__((export_name("test"))) int test(void) {
    one_relocate();
    two_relocate();
    int ok = one_length(2) == 5 && two_length(1) == 3;
    ok &= one_choose(1)(10) == 11 && two_choose(1)(10) == 12 && two_choose(0)(10) == 8;
    ok &= one_choose(1) != two_choose(1);
    ok &= one_call(square, 3) == 18 && two_call(one_choose(0), 3) == 4;
    one_count();
    return ok ? one_count() * 10 + two_count() : 0;
}
C
cat >owner.wat <<'WAT'
(module (memory (export "memory") 16) (table (export "__indirect_function_table") 32 funcref))
WAT
cat >bases.wat <<'WAT'
(module (import "libc" "shared_count" (global $shared i32))
  (global (export "shared_count") (mut i32) (global.get $shared))
  (global (export "m1") i32 (i32.const 524288)) (global (export "m2") i32 (i32.const 589824))
  (global (export "t1") i32 (i32.const 16)) (global (export "t2") i32 (i32.const 20)))
WAT
flags="--target=wasm32-unknown-unknown -O2 -nostdlib -ffreestanding -fno-builtin"
build() { # the modules
    wat2wasm owner.wat -o owner.wasm && wat2wasm bases.wat -o bases.wasm || return
    for step in 1 2; do
        $clang $flags -fPIC -DSTEP=$step -c side.c -o side$step.o &&
            $ld --experimental-pic -shared --no-entry --export-all --unresolved-symbols=import-dynamic side$step.o -o side$step.wasm || return
    done
    shared="--no-entry --import-memory --import-table -z stack-size=16384"
    $clang $flags -c libc.c -o libc.o && $ld $shared --global-base=65536 --export=twice --export=strlen --export=shared_count libc.o -o libc.wasm &&
        $clang $flags -c program.c -o program.o && $ld $shared --global-base=262144 --table-base=8 program.o -o program.wasm
}
said=$(build 2>&1) || { skip "side modules of C" "clang or wasm-ld cannot build them: $(head -n 1 <<<"$said")"; finish; }
alias() { # NUMBER: the aliases of a side module
    printf %s "env.__memory_base=bases.m$1,env.__table_base=bases.t$1,env.twice=libc.twice,env.strlen=libc.strlen,"
    printf %s "GOT.mem.shared_count=bases.shared_count"
}
sides=(--link env=owner.wasm --link libc=libc.wasm --link bases=bases.wasm --link "one=side1.wasm,$(alias 1)"
    --link "two=side2.wasm,$(alias 2)")
for level in 0 2; do
    same "side modules, -O$level" "$("$husk" run -O $level "${sides[@]}" --invoke test program.wasm 2>&1)" 21:i32
done
cat >crash.c <<'C'
__attribute__((export_name("crash"))) int crash(int n) {
    return n ? *(volatile int *)0x7fffffff
             : 1;
}
C
cat >user.c <<'C'


__attribute__((import_module("crash"), import_name("crash"))) int crash(int);
__attribute__((export_name("test"))) int test(int n) { return crash(n) + 1; }
C
for name in crash user; do
    $clang $flags -g -c $name.c -o $name.o && $ld --no-entry $name.o -o $name.wasm || fail setup "$name.c"
done
out=$("$husk" run --link crash=crash.wasm user.wasm --invoke test 1 2>&1)
contains "source lines: of a linked module" "$out" "crash/crash at"
contains "source lines: its file" "$out" "crash.c:2"
contains "source lines: of the main module" "$out" "user.c:4"
same "side modules, strict" "$("$husk" run --strict "${sides[@]}" --invoke test program.wasm 2>&1)" 21:i32
finish
