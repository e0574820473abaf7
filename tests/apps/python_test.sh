# tests/apps/python_test.sh: CPython 3.12 with its standard library, from PyPI: scripts from arguments, standard input and directories;
# files on the host, in private memory and copied on write behave as with native Python.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest python
scripts=$HUSK_SOURCE/tests/apps/scripts
python=("$husk" run -O0) # at -O2 the module takes minutes of CPU time to compile

got=$("${python[@]}" "$guest" -c 'import sys; print(sys.version.split()[0], sys.argv[1:], sys.platform)' one "two three" 2>&1)
same "arguments" "$got" "3.12.0 ['one', 'two three'] wasi"
got=$(printf 'import os\nprint(os.environ["GREETING"], 2**200)\n' | "${python[@]}" --env GREETING=hello "$guest" - 2>&1)
same "a script from standard input" "$got" "hello 1606938044258990275541962092341162602522202993782792835301376"
"${python[@]}" "$guest" -c 'raise SystemExit(7)' >"$scratch/out" 2>&1
same "exit code" $? 7
got=$("${python[@]}" "$guest" -c 'def f(n): return n / 0
f(1)' 2>&1)
same "an exception: exit code" $? 1
contains "an exception" "$got" "ZeroDivisionError: division by zero"
got=$("${python[@]}" "$guest" -c 'def f(n): return f(n + 1)
try: f(0)
except RecursionError as e: print(e)' 2>&1)
same "recursion has its limit" "$got" "maximum recursion depth exceeded"
got=$("${python[@]}" "$guest" -c 'import hashlib, json, re, decimal, datetime, statistics, random
decimal.getcontext().prec = 50
print(hashlib.sha3_256(b"husk").hexdigest()[:16], json.dumps({"b": [1.5, None], "a": "\u00fc"}, sort_keys=True))
print(re.sub(r"(\w+) (\w+)", r"\2 \1", "left right"), decimal.Decimal(2).sqrt(), datetime.date(2024, 2, 29).isocalendar()[1])
print(random.Random(7).random(), statistics.stdev([1, 2, 4]))' 2>&1)
same "the library" "$got" 'bc19aa4b2af148c2 {"a": "\u00fc", "b": [1.5, null]}
right left 1.4142135623730950488016887242096980785696718753769 9
0.32383276483316237 1.5275252316519468'

# The same script on each kind of directory.
mkdir -p "$scratch/work" "$scratch/below/empty"
echo below >"$scratch/below/file"
files() { # TITLE DIRECTORY FOLDER: of the guest
    "${python[@]}" --dir "$scripts::/scripts::ro" --dir "$2" "$guest" /scripts/files.py "$3" >"$scratch/got" 2>&1
    same_file "$1" "$scratch/got" "$scripts/files.out"
}
files "files on the host" "$scratch/work::/work::rw" /work
same "files on the host: what is there" "$(ls "$scratch/work" | tr '\n' ' ')" "a.zip dangling hard large renamed soft t.csv "
same "files on the host: a link" "$(readlink "$scratch/work/soft")" large
files "files in memory" mem::/work /work
files "files that are copied on write" "$scratch/below::/work::cow" /work/empty
got=$("${python[@]}" --dir "$scratch/below::/work::cow" "$guest" -c 'import os
f = open("/work/file", "r+"); f.write("B"); f.close()
print(open("/work/file").read(), end=""); os.unlink("/work/file"); os.rmdir("/work/empty"); print(os.listdir("/work"))' 2>&1)
same "copied on write: what the guest sees" "$got" "Below
[]"
same "copied on write: nothing changed below" "$(cd "$scratch/below" && find . | sort | tr '\n' ' ' && cat file)" ". ./empty ./file below"

got=$("${python[@]}" --dir "$scratch/below::/work::ro" "$guest" -c 'import os
print(open("/work/file").read(), end="")
for f in (lambda: open("/work/file", "a"), lambda: open("/work/new", "w"), lambda: os.unlink("/work/file"), lambda: os.mkdir("/work/d"),
          lambda: os.rename("/work/file", "/work/other"), lambda: os.symlink("a", "/work/b"), lambda: os.rmdir("/work/empty"),
          lambda: open("/work/../secret"), lambda: os.listdir("/work/..")):
    try: print("done", f())
    except OSError as e: print("refused")' 2>&1)
same "read-only" "$got" "below
refused
refused
refused
refused
refused
refused
refused
refused
refused"
same "read-only: nothing changed" "$(cd "$scratch/below" && find . | sort | tr '\n' ' ')" ". ./empty ./file "
finish
