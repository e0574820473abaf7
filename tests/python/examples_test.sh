# tests/python/examples_test.sh: the examples print what they promise, and what Wasmtime's binding makes of the same modules.
. "${HUSK_SOURCE:-.}/tests/python/binding.sh"
need_wat2wasm
need_kvm
need_binding
need_whole_binding
examples=$HUSK_SOURCE/examples/python
example() { # NAME EXPECTED
    same "$1" "$(cd "$scratch" && "$python" "$examples/$1.py" 2>&1)" "$2"
}
example hello "hello from the host, asked for by a virtual machine"
example gcd "(i32 i32) -> (i32)
gcd(1071, 462) = 21"
same "gcd: of other numbers" "$("$python" "$examples/gcd.py" 27 6 | tail -n 1)" "gcd(27, 6) = 3"
example memory "2 pages, 131072 bytes
read: 01 02 fa 05
trap: out of bounds memory access: address 0x20000; the memory has 131072 bytes
the host cannot read there, either
no restore while a view is held
before: 2 after: 3
not beyond the maximum"
example multi_value "twice: (4, 2)
many: 7 [6, 5, 4, 3, 2, 1, 0]"
example linking "guest says: hello, library
run: 42
exports: run library/memory library/free library/double library/log"
example interrupt "ended by its wall limit
ended by its token
ended by another thread
and in use again: 3"
example wasi "exit code: 3
output: hello from a file
errors: hello from standard input"
example host_functions "asked for 3
total: 1.5
no price for 'plum'
asked for 4
total: 2.0"
example snapshot "(1, 1)
(1, 1)
(1, 1)
from its bytes: (1, 1)"
for name in hello gcd memory multi_value linking wasi host_functions; do
    out=$("$python" "$HUSK_SOURCE/tests/python/beside.py" "$examples/$name.py" 2>&1)
    code=$?
    same "$name: Wasmtime: exit code" $code 0
    check "$name: Wasmtime prints something" test -n "$out"
    # Each of its lines is one of the example's.
    same "$name: Wasmtime's lines" "$("$python" "$examples/$name.py" | grep -xFf <(printf '%s\n' "$out"))" "$out"
done
mapfile -t files < <(cd "$examples" && ls -- *.py | grep -vx wat.py)
for file in "${files[@]}"; do
    check "$file is tested" grep -q "^example ${file%.py} " "$0"
    check "docs/python.md names $file" grep -q "examples/python/$file" "$HUSK_SOURCE/docs/python.md"
done
finish
