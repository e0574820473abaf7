# tests/apps/emscripten_test.sh: examples/emscripten.c with Lua from npm: errors (setjmp and longjmp over host functions), memory that
# grows, limits, imports that nobody defined, and a clean state for each script.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
emscripten=$HUSK_BUILD/examples/emscripten
[ -x "$emscripten" ] || { skip all "the examples were not built"; finish; }
same "without a script" "$("$emscripten" nowhere.wasm 2>&1; echo $?)" "usage: emscripten glue.wasm SCRIPT…
2"
need_kvm
need_guest wasmoon
image=$scratch/wasmoon.husk
check "compiles" "$husk" compile "$guest" -o "$image"
same "the module itself" "$("$emscripten" "$guest" 'print(_VERSION)')" "Lua 5.4"
same "a missing file" "$("$emscripten" nowhere.wasm 'print(1)' 2>/dev/null; echo $?)" 1

# scripts SCRIPT…: what they print is $out, what the host says $said.
scripts() {
    out=$("$emscripten" "$image" "$@" 2>"$scratch/said")
    code=$?
    said=$(cat "$scratch/said")
}

scripts 'word = "hello" string.upper = nil print(word)' 'print(word, string.upper ~= nil)' 'print(#"third")'
same "every script starts clean: exit code" $code 0
same "every script starts clean" "$out" "hello
nil	true
5"
same "every script starts clean: no message" "$said" ""

scripts 'print(pcall(error, "thrown"))' 'print(pcall(function() return nil + 1 end))' 'print(select(2, pcall(string.rep)))' \
    'local function deep(n) if n == 0 then error("deep", 0) end return select(2, pcall(deep, n - 1)) end print(deep(150))' \
    'local n = 0; for i = 1, 100 do if not pcall(error) then n = n + 1 end end print(n)' \
    'local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) error("got " .. b, 0) end) print(co(1), pcall(co, 2))'
same "errors are caught: exit code" $code 0
same "errors are caught" "$out" "false	thrown
false	script:1: attempt to perform arithmetic on a nil value
bad argument #1 to 'string.rep' (string expected, got no value)
deep
100
2	false	got 2"

scripts 'error("not caught")' 'x = = 1' 'error({})' 'print("and on")'
same "errors of scripts: exit code" $code 1
same "errors of scripts: the next one runs" "$out" "and on"
contains "an error that nobody catches" "$said" "script 1: script:1: not caught"
contains "a script that is none" "$said" "script 2: script:1: unexpected symbol near '='"
contains "an error that is no text" "$said" "script 3: an error that is no text"

scripts 'print(#("x"):rep(20000000))' 'local s = ("x"):rep(100000000)' 'print(select("#", pcall(string.rep, "x", 1e9)))' \
    'while true do end' 'print("and on")'
same "memory grows, and has an end" "$out" "20000000
2
and on"
contains "too much memory" "$said" "script 2: not enough memory"
contains "an endless loop" "$said" "script 4: a call made by a host function was cut off: wall limit of 1 s"

scripts 'os.rename("a", "b")' 'print(io.open("/etc/passwd"))' 'print(os.time() > 1600000000)' 'os.exit(3)' 'io.stderr:write("said\n")'
contains "an import that nobody defined" "$said" 'script 1: the module called the unknown import "env.__syscall_renameat"'
contains "no files" "$out" "/etc/passwd: No such file or directory"
contains "a clock" "$out" "true"
contains "a program that leaves" "$said" "script 4: the program exited with code 3"
contains "standard error" "$said" "said"
finish
