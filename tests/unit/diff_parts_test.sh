# tests/unit/diff_parts_test.sh: the parts of the differential tests that run no engine: rewriting, plans, judging traces.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
command -v python3 >/dev/null || { skip all "no python3"; finish; }
export PYTHONPATH=$HUSK_SOURCE/tests/diff PYTHONDONTWRITEBYTECODE=1
cd "$scratch" || exit 1

# What Python prints for a line of code that may use the modules of the folder.
python() {
    python3 -c "import compare, plan, wasm_module as wasm; $1" 2>&1
}

# judged NAME EXPECTED-TRACE FOUND-TRACE EXACT RESULT: RESULT is `what misses uncertain calls` of the verdict.
judged() {
    printf '%b' "$2" >expected
    printf '%b' "$3" >found
    same "$1" "$(python "v = compare.judge(compare.parse(open('expected').read()), compare.parse(open('found').read()), $4)
print(v.difference.what if v.difference else '-', v.misses, v.uncertain, v.calls)")" "$5"
}

start='start\n= returned\n m0 1 aa\n'
judged "equal traces" "${start}call 0\n host 1 i32:0x1 ->\n= returned i32:0x2\n" "${start}call 0\n host 1 i32:0x1 ->\n= returned i32:0x2\n" True "- 0 0 2"
judged "another result" "${start}call 0\n= returned i32:0x2\n" "${start}call 0\n= returned i32:0x3\n" False "end 0 0 2"
judged "another argument of a host call" "${start}call 0\n host 1 i32:0x1 ->\n= returned\n" "${start}call 0\n host 1 i32:0x2 ->\n= returned\n" False "host calls 0 0 2"
judged "a host call more" "${start}call 0\n= returned\n" "${start}call 0\n host 1 ->\n= returned\n" False "host calls 0 0 2"
judged "other memory" "${start}call 0\n= returned\n m0 1 bb\n" "${start}call 0\n= returned\n m0 1 cc\n" False "state 0 0 2"
judged "memory that did not change" "${start}call 0\n= returned\n m0 1 bb\n" "${start}call 0\n= returned\n" False "state 0 0 2"
judged "a trace that ends early" "${start}call 0\n= returned\n" "$start" False "order 0 0 2"
judged "another trap" "${start}call 0\n= trap zero\n" "${start}call 0\n= trap unreachable\n" False "end 0 0 2"
judged "a kind of V8's that is two of Husk's" "${start}call 0\n= trap signature\n" "${start}call 0\n= trap mismatch\n" True "- 0 0 2"
judged "a miss at a level that may miss" "${start}call 0\n= trap memory\nfresh\n" "${start}call 0\n= returned\n" False "- 1 1 1"
judged "a miss at a level that may not" "${start}call 0\n= trap memory\nfresh\n" "${start}call 0\n= returned\n" True "end 0 0 2"
judged "a miss in a module that must trap" "${start}call 0\n= trap memory\n" "${start}call 0\n= returned\n" "False, False" "end 0 1 1"
judged "out of bounds where V8 is not" "${start}call 0\n= returned\n" "${start}call 0\n= trap memory\n" False "end 0 0 2"
judged "other host calls before a miss" "${start}call 0\n host 1 ->\n= trap memory\n" "${start}call 0\n= returned\n" False "host calls before an access out of bounds 0 1 1"
judged "the call after one out of time" "${start}call 0\n= trap timeout\nfresh\nstart\n= returned\ncall 1\n= returned\n" \
    "${start}start\n= returned\ncall 1\n= trap zero\n" False "end 0 1 3"
judged "a timeout of Husk's alone" "${start}call 0\n= returned\n" "${start}call 0\n= trap timeout\n" False "end 0 0 2"

same "numbers as they are written" "$(python "print(wasm.leb(624485).hex(), wasm.signed_leb(-123456).hex(), wasm.signed_leb(500).hex())")" "e58e26 c0bb78 f403"
same "arguments" "$(python "print(*map(plan.parsed, ['i32:-1', 'i64:-1', 'f32:1', 'f64:0x10', 'null']))")" \
    "i32:0xffffffff i64:0xffffffffffffffff f32:0x3f800000 f64:0x10 null"
contains "not wasm" "$(python "wasm.Module(b'hello, world')")" "not a wasm module"
contains "cut off" "$(python "wasm.Module(b'\0asm\1\0\0\0\1\5\1')")" "unexpected end"
same "the plan after V8" "$(python "print(plan.annotated('call 0 0 -\ncall 1 0 -\ncall 2 0 -\ncall 3 0 -', {0: 'memory', 1: 'stack', 2: 'timeout', 3: 'zero'}, False).split())")" \
    "['beyond', '0', '0', '-', 'try', '1', '0', '-', 'skip', '2', '0', '-', 'call', '3', '0', '-']"
same "a maker's job: judged exactly where accesses stay in bounds, no calls but the list's" "$(python "import pathlib, sources
job = sources.Maker('x', True, lambda *_: 'so').job(1, pathlib.Path('made')); print(job.in_bounds, job.is_seeded, job.levels, job.origin)")" \
    "True False ['O0', 'O2', 'O3', 'strict'] so"

if ! command -v wat2wasm >/dev/null || ! command -v wasm-validate >/dev/null; then
    skip rewriting "no wat2wasm (package wabt)"
    finish
fi
cat >all.wat <<'WAT'
(module
  (import "a" "x" (func (param i32 i64) (result f64))) (import "a" "x" (func)) (import "b" "m" (memory 2))
  (import "b" "t" (table 3 funcref)) (import "b" "g" (global (mut i32)))
  (table 4 9 externref) (global (mut i64) (i64.const 1)) (global f32 (f32.const 2)) (global (mut funcref) (ref.null func))
  (func (export "f") (param i32 f32) (result i32) (i32.const 1)) (func (export "v") (result i64) unreachable)
  (data (i32.const 0) "x") (elem (i32.const 0) 0))
WAT
wat2wasm all.wat -o all.wasm
python "m = wasm.Module(open('all.wasm', 'rb').read()); open('new.wasm', 'wb').write(m.rewritten(True)); p = plan.Plan(m, True)
p.calls_by_seed(1); print(*p.lines, sep='\n')" >plan
same "what is rewritten is valid" "$(wasm-validate new.wasm 2>&1)" ""
contains "imports have names of their own" "$(wasm-objdump -x new.wasm)" "<- i.1"
contains "memories cannot grow for ever" "$(wasm-objdump -x new.wasm)" "pages: initial=2 max=130"
contains "memories are exported" "$(wasm-objdump -x new.wasm)" '-> "diff:m0"'
same "imports in the plan" "$(grep import plan)" "import 0 func i32,i64 f64
import 1 func - -
import 2 memory 2 130
import 3 table funcref 3 1003
import 4 global mut i32:0x10000"
same "watched" "$(grep -c watch plan)" 4
same "calls: each with zeros, each with others" "$(grep -c call plan)" 4
python "m = wasm.Module(open('all.wasm', 'rb').read()); text = '# of the table\ndiff%3Aentry:0 i32:5 i64:7\nbytes 0x10 0102030405060708ff\n'
print(plan.entries_of(text)); m.export_entry(0); m.export_entry(1); open('entry.wasm', 'wb').write(m.rewritten(True))
p = plan.Plan(m, True); p.calls_by_list(text); print(*[line for line in p.lines if line.startswith('call')], sep='\n'); print(len(p.callable_exports()))" >entries
check "the module with an entry of the table is valid" wasm-validate entry.wasm
same "a call by the place in the table, bytes, and no such call by the seed" "$(cat entries)" "[0]
call 2 0 f64 i32:0x5 i64:0x7
call 7 0 - i32:0x10 i64:0x807060504030201
call 7 0 - i32:0x18 i64:0xff
2"
same "the same seed, the same plan" "$(python "m = wasm.Module(open('all.wasm', 'rb').read()); p = plan.Plan(m, True)
p.calls_by_seed(1); print(*p.lines, sep='\n')")" "$(cat plan)"
same "a text and a call in a list" "$(python "m = wasm.Module(open('all.wasm', 'rb').read()); p = plan.Plan(m, True)
p.calls_by_list('# words\ntext 16 \"ab\\\\ncdefgh\"\nf i32:1 f32:2\n'); print(*[line for line in p.lines if line[:4] == 'call'], sep='\n')")" \
    "$(printf 'call 6 0 - i32:0x10 i64:0x67666564630a6261\ncall 6 0 - i32:0x18 i64:0x68\ncall 0 0 i32 i32:0x1 f32:0x40000000')"
contains "the function that writes is exported" "$(wasm-objdump -x new.wasm)" '-> "diff:put"'
for maker in gen-traps gen-loops gen-unrolled gen-vectors gen-atomics; do
    [ -x "$HUSK_SOURCE/tests/diff/$maker" ] || continue
    for flag in "" --out-of-bounds; do
        for seed in 1 2 3; do
            python3 "$HUSK_SOURCE/tests/diff/$maker" $seed one.wasm $flag
            same "$maker $seed $flag is valid" "$(wasm-validate --enable-multi-memory --enable-relaxed-simd --enable-threads --enable-memory64 one.wasm 2>&1)" ""
            python3 "$HUSK_SOURCE/tests/diff/$maker" $seed two.wasm $flag
            same "$maker $seed $flag is the same again" "$(cksum <one.wasm)$(cksum <one.wasm.calls)" "$(cksum <two.wasm)$(cksum <two.wasm.calls)"
        done
    done
done
finish
