# tests/apps/lua_test.sh: Lua 5.4 from Debian's source package, reading scripts from stdin, against the native interpreter.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest lua

script=$HUSK_SOURCE/tests/apps/scripts/check.lua
got=$("$husk" run "$guest" - <"$script" 2>&1)
same "a script from stdin prints what native Lua prints" "$got" "$(lua5.4 - <"$script")"

got=$(echo 'print(arg[0], arg[1], arg[2], #arg)' | "$husk" run "$guest" - one "two words" 2>&1)
same "arguments" "$got" "$(printf -- '-\tone\ttwo words\t2')"

got=$(echo 'print(os.getenv("GREETING"))' | "$husk" run --env GREETING=hello "$guest" - 2>&1)
same "environment" "$got" hello

echo 'os.exit(7)' | "$husk" run "$guest" - >/dev/null 2>&1
same "exit code" $? 7

echo 'io.stderr:write("to stderr")' | "$husk" run "$guest" - 2>"$scratch/err" >"$scratch/out"
same "stderr" "$(cat "$scratch/err")" "to stderr"
same "stdout stays empty" "$(cat "$scratch/out")" ""

# wasi-libc has no setjmp, so a Lua error ends in a trap; it must be reported as one, with Lua's functions in the backtrace.
got=$(echo 'error("thrown")' | "$husk" run "$guest" - 2>&1)
status=$?
check "a thrown error traps" test "$status" -ne 0
contains "the trap says what it is" "$got" unreachable
contains "the backtrace names functions" "$got" luaD_throw

# 100,000 lines through stdin and stdout.
seq 100000 >"$scratch/lines"
got=$("$husk" run "$guest" -e 'local s = 0 for line in io.lines() do s = s + tonumber(line) end print(s)' <"$scratch/lines" 2>&1)
same "reads 100,000 lines" "$got" 5000050000
finish
