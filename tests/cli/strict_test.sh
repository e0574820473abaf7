# tests/cli/strict_test.sh: --strict of husk compile, run and snapshot.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
in_scratch

for command in compile run snapshot; do
    out=$("$husk" $command --strict-traps a.wasm 2>&1)
    same "husk $command --strict-traps: exit code" $? 2
    contains "husk $command: the old name says the new one" "$out" "--strict-traps is now --strict"
    contains "husk $command --help" "$("$husk" $command --help)" "--strict"
done

need_wat2wasm "what it does"
cat >select.wat <<'WAT'
(module (memory 1)
  (func (export "f") (param $p i32) (param $c i32) (result i32)
    (select (i32.const 7) (i32.load (local.get $p)) (local.get $c)))
  (func (export "load") (param $p i32) (result i32) (i32.load (local.get $p))))
WAT
wat2wasm select.wat -o select.wasm || fail setup "wat2wasm"
for level in 0 1 2 3; do
    check "compile --strict -O$level" "$husk" compile --strict -O $level select.wasm -o strict$level.husk
    contains "inspect, strict, -O$level" "$("$husk" inspect strict$level.husk)" "strict          yes"
done
check "compile" "$husk" compile select.wasm -o default.husk
contains "inspect, default" "$("$husk" inspect default.husk)" "strict          no"
need_kvm
for level in 0 1 2 3; do
    out=$("$husk" run --strict -O $level select.wasm --invoke f 65536 1 2>&1)
    same "run --strict -O$level: exit code" $? 134
    contains "run --strict -O$level: a load whose value is not selected" "$out" "out of bounds memory access"
done
contains "JSON: strict" "$("$husk" run --strict --json --invoke load select.wasm 65536)" '"state_is_exact":true'
contains "JSON: default" "$("$husk" run --json --invoke load select.wasm 65536)" '"state_is_exact":false'
finish
