# tests/cli/exceptions_test.sh: what husk says about tags and about exceptions that nobody catches.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
in_scratch

need_wat2wasm
cat >throw.wat <<'WAT'
(module
  (import "env" "__cpp_exception" (tag $cpp (param i32)))
  (import "env" "__c_longjmp" (tag $longjmp (param i32)))
  (tag $own (export "it is") (param i32 i64 f64 externref))
  (tag $quiet)
  (memory (export "memory") 1)
  (func $thrower (param i32)
    (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $cpp (i32.const 70000))))
    (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $longjmp (i32.const 70000))))
    (if (i32.eq (local.get 0) (i32.const 3))
      (then (throw $own (i32.const -1) (i64.const 9007199254740993) (f64.const 0.5) (ref.null extern))))
    (throw $quiet))
  (func $run (export "run") (param i32) (call $thrower (local.get 0)))
  (func (export "catch") (param i32) (result i32)
    try (call $run (local.get 0)) catch $cpp drop catch_all (return (i32.const 2)) end
    i32.const 1)
  (func (export "_start") (call $run (i32.const 1))))
WAT
cat >lib.wat <<'WAT'
(module (tag $t (export "t") (param i32)) (func (export "f") (throw $t (i32.const 8))))
WAT
cat >main.wat <<'WAT'
(module (import "lib" "t" (tag $t (param i32))) (import "lib" "f" (func $f))
  (func (export "catch") (result i32) try (result i32) call $f i32.const 0 catch $t end)
  (func (export "pass") call $f))
WAT
for module in throw lib main; do
    wat2wasm --enable-exceptions --debug-names $module.wat -o $module.wasm || fail setup "wat2wasm $module"
done

check "validate" "$husk" validate throw.wasm
check "compile" "$husk" compile throw.wasm -o throw.husk
for file in throw.wasm throw.husk; do
    out=$("$husk" inspect $file)
    contains "inspect $file: how many" "$out" "tags            4"
    contains "inspect $file: an import" "$out" "  tag    env.__cpp_exception: (i32)"
    contains "inspect $file: an export" "$out" '  tag    "it is": (i32, i64, f64, externref)'
    out=$("$husk" inspect --json $file)
    contains "inspect --json $file: an import" "$out" \
        '{"kind":"tag","module":"env","name":"__c_longjmp","params":["i32"],"results":[]}'
done

need_kvm
throws() { # NAME ARGUMENT TEXT…: of the run, in this order
    local name=$1 argument=$2 part
    shift 2
    out=$("$husk" run throw.husk --invoke run "$argument" 2>&1)
    same "$name: exit code" $? 134
    for part in "$@" "  0: thrower at 0x" "  1: run at 0x"; do contains "$name" "$out" "$part"; done
}
throws "C++" 1 'husk run: C++ exception: uncaught exception: tag "env.__cpp_exception" (i32 70000)'
throws "longjmp" 2 'husk run: longjmp without its setjmp: uncaught exception: tag "env.__c_longjmp" (i32 70000)'
throws "a tag of the module" 3 \
    'husk run: uncaught exception: tag "it is" (i32 -1, i64 9007199254740993, f64 0.5, externref null)'
throws "a tag without a name" 4 "husk run: uncaught exception: tag 3"
out=$("$husk" run throw.wasm 2>&1)
same "_start: exit code" $? 134
contains "_start" "$out" "C++ exception"
same "caught" "$("$husk" run throw.wasm --invoke catch 1)" "1:i32"
same "caught by catch_all" "$("$husk" run throw.wasm --invoke catch 2)" "2:i32"
out=$("$husk" run --json throw.husk --invoke run 3)
same "JSON: exit code" $? 134
contains "JSON" "$out" '{"outcome":"threw","exception":{"name":"it is","tag":2,"values":[{"type":"i32","value":-1},'
contains "JSON: a wide number" "$out" '{"type":"i64","value":"9007199254740993"},{"type":"f64","value":0.5},'
contains "JSON: exact" "$out" '"state_is_exact":true'
contains "JSON: an import" "$("$husk" run --json throw.husk --invoke run 2)" \
    '"exception":{"module":"env","name":"__c_longjmp","tag":1,"values":[{"type":"i32","value":70000}]}'
contains "--stats" "$("$husk" run --stats throw.husk --invoke run 1 2>&1)" "C++ exception"

out=$("$husk" snapshot throw.wasm --invoke run -o none.husk 1 2>&1)
same "snapshot: exit code" $? 134
contains "snapshot" "$out" "husk snapshot: C++ exception"
check "no snapshot of it" test ! -e none.husk

same "linked: a shared tag is caught" "$("$husk" run --link lib=lib.wasm main.wasm --invoke catch)" "8:i32"
out=$("$husk" run --link lib=lib.wasm main.wasm --invoke pass 2>&1)
same "linked: exit code" $? 134
contains "linked: the tag has its instance's name" "$out" 'uncaught exception: tag "lib/t" (i32 8)'
contains "linked: the frames have theirs" "$out" "0: lib/f"
finish
