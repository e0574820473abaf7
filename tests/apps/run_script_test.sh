# tests/apps/run_script_test.sh: examples/run_script.c with Lua from Debian's source package: scripts on standard input, errors that are
# caught, files in a private layer, output with a limit, and a clean state for each script.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
run_script=$HUSK_BUILD/examples/run_script
[ -x "$run_script" ] || { skip all "the examples were not built"; finish; }
need_kvm
need_guest script
image=$scratch/script.husk
check "compiles" "$husk" compile "$guest" -o "$image"

# scripts TEXT…: what they print is $out, what the host says $said.
scripts() {
    local files=() text
    for text; do
        printf '%s\n' "$text" >"$scratch/${#files[@]}.lua"
        files+=("$scratch/${#files[@]}.lua")
    done
    out=$("$run_script" "$image" "${files[@]}" 2>"$scratch/said")
    code=$?
    said=$(cat "$scratch/said")
}

scripts 'word = "hello" string.upper = nil print(word)' 'print(word, string.upper ~= nil)' 'io.stderr:write("to stderr\n")'
same "every script starts clean: exit code" $code 0
same "every script starts clean" "$out" "hello
nil	true"
contains "standard error" "$said" "to stderr"
contains "what a request takes" "$said" "us a request"

scripts 'print(pcall(error, "thrown"))' 'print(pcall(function() return nil + 1 end))' \
    'local function deep(n) if n == 0 then error("deep", 0) end return select(2, pcall(deep, n - 1)) end print(deep(150))' \
    'for i = 1, 300 do pcall(error) end print("many")' 'print(coroutine.wrap(function() return pcall(error, "in a coroutine") end)())'
same "errors are caught: exit code" $code 0
same "errors are caught" "$out" "false	thrown
false	stdin:1: attempt to perform arithmetic on a nil value
deep
many
false	in a coroutine"

scripts 'print("before") error("thrown")' 'print("not run")'
same "an error ends all: exit code" $code 1
same "an error: what it wrote before" "$out" before
contains "an error" "$said" "stdin:1: thrown"
scripts 'print('
contains "a script that is none" "$said" "unexpected symbol near <eof>"
scripts 'os.exit(3)'
same "os.exit" $code 1
scripts 'while true do end'
contains "a script without end" "$said" "cut off: CPU limit of 1 s"
scripts 'local text = string.rep("x", 100000) for i = 1, 11 do io.write(text) end'
same "output has a limit" "${#out}" 1048576
contains "output has a limit" "$said" "stream 1: cut off after 1048576 bytes"

# shellcheck disable=SC2016
write='local f = assert(io.open("/notes.txt", "w")) f:write("secret") f:close() print(io.open("/notes.txt"):read("a"))'
scripts "$write" 'print(io.open("/notes.txt"))'
same "files of one script: exit code" $code 0
same "files of one script, gone for the next" "$out" "secret
nil	/notes.txt: No such file or directory	44"
scripts 'print(io.open("/../etc/passwd"))'
contains "nothing of the host" "$out" "nil"
scripts 'local f = assert(io.open("big", "w")) local text = string.rep("x", 100000) local ok, why
    for i = 1, 200 do ok, why = f:write(text) if not ok then break end end print(ok, why)'
contains "files have a limit" "$out" "No space left on device"

echo 'print(_VERSION)' >"$scratch/version.lua"
same "many times" "$("$run_script" -n 50 "$image" "$scratch/version.lua" 2>"$scratch/said")" "Lua 5.4"
contains "many times" "$(cat "$scratch/said")" "us a request"
same "a missing script" "$("$run_script" "$image" nowhere.lua 2>&1; echo $?)" "nowhere.lua: cannot be read
1"
same "a missing module" "$("$run_script" nowhere.wasm "$scratch/version.lua" 2>/dev/null; echo $?)" 1
finish
