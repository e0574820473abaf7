# tests/python/style_test.sh: what is Python is formatted, linted and typed: by ruff, mypy and pyright, whose settings are in
# bindings/python/pyproject.toml.
. "${HUSK_SOURCE:-.}/tests/python/binding.sh"
need_binding
settings=$HUSK_SOURCE/bindings/python/pyproject.toml
cd "$HUSK_SOURCE" || exit 1
clean() { # NAME COMMAND…
    local name=$1
    shift
    if "$@" >"$scratch/log" 2>&1; then pass; else fail "$name" "$(tail -n 60 "$scratch/log")"; fi
}
# The package's folder has the settings itself: there, husk is its own.
programs=(examples/python bench/agents bench/python tests/python)
for what in check "format --check"; do
    # shellcheck disable=SC2086 # words
    clean "ruff $what: the package" env -C bindings/python "$python" -m ruff $what --no-cache .
    # shellcheck disable=SC2086
    clean "ruff $what: programs" "$python" -m ruff $what --no-cache --config "$settings" "${programs[@]}"
done
clean "mypy: the package" "$python" -m mypy --config-file "$settings" --cache-dir "$folder/mypy" bindings/python/src/husk
export PYRIGHT_PYTHON_IGNORE_WARNINGS=1
clean "pyright: the package" "$python" -m pyright --project "$settings" --pythonpath "$python" bindings/python/src/husk
PATH=$folder/venv/bin:$PATH "$python" -m pyright --ignoreexternal --verifytypes husk >"$scratch/log" 2>&1
check "pyright: it counts the package's names" grep -qE 'Symbols exported by "husk": [1-9][0-9]{2}' "$scratch/log"
same "pyright: each has a type" "$(grep -c 'With unknown type: 0$' "$scratch/log")" 2
need_whole_binding
clean "mypy: the examples, with the package as a user has it" env -C examples/python \
    "$python" -m mypy --config-file "$settings" --cache-dir "$folder/mypy-examples" .
finish
