# tests/python/binding.sh: the binding, installed in the build folder's virtual environment, for the suites of the lane python, sourced by
# them in the place of tests/harness.sh.
#
#   need_binding      the environment's Python is $python, and has the tree's husk; else all is skipped, with the reason
#   pytest NAME ARGUMENT…   runs tests by it, and adds what passed, failed and was skipped
. "${HUSK_SOURCE:-.}/tests/harness.sh"
folder=$HUSK_BUILD/python
python=$folder/venv/bin/python
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
unset PYTHONPATH PYTHONHOME

# As a user installs it, but without a network: what builds it is in the environment. Suites run at the same time.
install_binding() {
    local stamp=$folder/installed
    exec 9>"$folder/lock"
    flock 9
    if [ "$stamp" -nt "$python" ] && [ "$(cat "$stamp")" = "$(readlink "$folder/venv")" ] && [ -z "$(newer_than "$stamp")" ]; then
        exec 9>&-
        return 0
    fi
    touch "$folder/started"
    "$python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --no-index --force-reinstall \
        --config-settings=build-dir="$folder/{wheel_tag}" "$HUSK_SOURCE/bindings/python" || return 1
    readlink "$folder/venv" >"$stamp"
    touch -r "$folder/started" "$stamp"
    exec 9>&-
}

# A source that changed since, if there is one.
newer_than() { # FILE
    cd "$HUSK_SOURCE" && find CMakeLists.txt cmake abi base wasm guest host compiler include bindings/python -name __pycache__ -prune -o \
        -newer "$1" -print -quit
}

need_binding() {
    if ! [ -e "$folder/venv/complete" ]; then
        skip all "no virtual environment (tools/install-deps python)"
        finish
    fi
    if ! install_binding >"$scratch/install.log" 2>&1; then
        fail "pip install ./bindings/python" "$(tail -n 30 "$scratch/install.log")"
        finish
    fi
}

# Ends the suite with all of it skipped where the package does not have all of its parts yet.
need_whole_binding() {
    "$python" -c 'import husk; husk.Wasi, husk.Pool, husk.compile_linked, husk.Sandbox.call_async' 2>"$scratch/log" && return
    skip all "the binding lacks a part: $(tail -n 1 "$scratch/log")"
    finish
}

count_of() { # WORD
    sed -nE "s/^(.*[ =])?([0-9]+) $1(s?,| ).*/\\2/p" <<<"$sum" | head -n 1
}

pytest() { # NAME ARGUMENT…
    local name=$1 log=$scratch/pytest.log sum code
    shift
    "$python" -m pytest -q -rs --color=no -p no:cacheprovider -o console_output_style=classic "$@" >"$log" 2>&1
    code=$?
    sum=$(tail -n 1 "$log")
    passed=$((passed + $(count_of passed || true) + 0))
    skipped=$((skipped + $(count_of skipped || true) + 0))
    sed -nE 's/^SKIPPED \[([0-9]+)\] /skipped: /p' "$log"
    [ "$code" = 0 ] && [ -n "$(count_of passed)" ] && return
    cat "$log"
    fail "$name" "pytest's exit status is $code"
}
