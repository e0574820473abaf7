# tests/cli/diff_test.sh: the differential tests find what they are for: Husk is made to do wrong, and that is noticed. See docs/testing.md.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
for tool in "$HUSK_BUILD/diff/node/node_modules/.bin/node" "$HUSK_BUILD/diff/venv/bin/python" "$(command -v wat2wasm || echo wat2wasm)"; do
    [ -e "$tool" ] || { skip all "no $tool: tools/install-deps diff"; finish; }
done
export HUSK_BUILD
cd "$scratch" || exit 1
cat >guest.wat <<'WAT'
(module
  (import "e" "h" (func $h (param i32) (result i32))) (memory (export "memory") 1) (global $g (mut i32) (i32.const 0))
  (table 3 funcref) (elem (i32.const 0) $nop) (func $nop)
  (func (export "host") (param i32) (result i32) (i32.mul (i32.const 3) (call $h (local.get 0))))
  (func (export "state") (param i32) (global.set $g (local.get 0)) (i32.store (i32.const 8) (global.get $g)))
  (func (export "stop") (global.set $g (i32.const 5)) (i32.store8 (i32.const 0) (i32.const 1)) unreachable)
  (func (export "null") (call_indirect (i32.const 1))) (func (export "beyond") (call_indirect (i32.const 9)))
  (func (export "spin") (loop (br 0))) (func $deep (export "deep") (call $deep))
  (func (export "floats") (param f32 f64) (result f64 f32) (f64.promote_f32 (local.get 0)) (f32.demote_f64 (local.get 1)))
  (func (export "refs") (param externref) (result externref) (local.get 0))
  (func (export "set") (table.set 0 (i32.const 2) (ref.func $nop))))
WAT
cat >miss.wat <<'WAT'
(module (memory 1) (func (export "f") (param i32 i32) (result i32) (local i32) (local.set 2 (i32.load (local.get 0)))
  (block (block (block (br_table 0 1 2 (local.get 1))) (return (local.get 2))) (return (i32.const 7))) (i32.const 8)))
WAT
echo 'f i32:65536 i32:1' >miss.calls
wat2wasm guest.wat -o guest.wasm && wat2wasm miss.wat -o miss.wasm
check_module() { # ARGS…
    "$HUSK_SOURCE/tests/diff/check" "$@" 2>&1
}

out=$(check_module guest.wasm --seed 3 --keep kept)
same "equal: exit code" $? 0
contains "equal" "$out" "same: "
contains "a call without end is not compared" "$(cat kept/v8)" "= trap timeout"
contains "stubs are traced" "$(cat kept/v8)" " host 0 i32:0x"
contains "references" "$(cat kept/husk.O2)" "= returned externref:0x"
same "the table is seen" "$(grep -c 'diff:tables' kept/husk.O2)" "$(grep -c 'diff:tables' kept/v8)"

out=$(HUSK_TRACE_FAULT=stub check_module guest.wasm --seed 3 --levels O2)
same "wrong results: exit code" $? 1
contains "wrong results" "$out" "end"
contains "wrong results: what was called" "$out" "host(i32:0x"
out=$(HUSK_TRACE_FAULT=memory check_module guest.wasm --levels O0)
contains "wrong memory" "$out" "diff:m0"

out=$(check_module miss.wasm --calls miss.calls --levels O2,O3)
contains "an access out of bounds that is missed is allowed, and counted" "$out" "2 allowed misses"
contains "strict misses none" "$(check_module miss.wasm --calls miss.calls --levels strict)" "same: "
contains "strict that is not strict is noticed" "$(HUSK_TRACE_FAULT=strict check_module miss.wasm --calls miss.calls --levels strict)" "V8:   = trap memory"

printf '\0asm\1\0\0\0\1\4\1\x60\0\0\3\2\1\0\x0a\5\1\3\0\x1a\x0b' >invalid.wasm # drop of nothing
out=$(check_module invalid.wasm)
same "what both refuse is skipped" $? 2
contains "what both refuse is skipped: why" "$out" "V8 refuses it, too"

HUSK_TRACE_FAULT=memory "$HUSK_SOURCE/tests/diff/reduce" guest.wasm --seed 3 --level O2 >out 2>&1
contains "reducing: calls" "$(cat out)" "1 calls are enough"
contains "reducing: functions" "$(cat out)" "0 of 11 functions are needed"
contains "reducing: how to see it" "$(cat out)" "small.wasm --seed 3 --calls"
finish
