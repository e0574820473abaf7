# tests/wheels/wheel_test.sh: the binary wheels: what is in them; one installed in a fresh Debian 12 without a compiler, where the first program
# of docs/python.md runs; and the others where their Python is. Needs root for the fresh system. `make wheel` makes them before.
. "$(dirname "$0")/../debian/system.sh"
wheels=$HUSK_BUILD/wheels tools=$HUSK_BUILD/python/venv/bin
[ -n "$(ls "$wheels"/*.whl 2>/dev/null)" ] || { skip all "no wheels (make wheel)"; finish; }
mkdir "$scratch/wheels"
cp "$wheels"/*.whl "$scratch/wheels"
document=$HUSK_SOURCE/docs/python.md
awk '/^```python$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' "$document" >"$scratch/first.py"
awk '/^```text$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' "$document" >"$scratch/first.out"
check "docs/python.md has a first program" grep -q husk.compile "$scratch/first.py"

# Another Python's packages of the pinned versions, for an installation without a network.
bring_needs() { # VERSION
    grep -E '^(cffi|pycparser)==' "$HUSK_SOURCE/bindings/python/requirements-dev.txt" >"$scratch/needs"
    "$tools/python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version "$1" -d "$scratch/wheels" -r "$scratch/needs"
}

# ---- what is in them ----
for wheel in "$wheels"/*.whl; do
    name=${wheel##*/}
    tag=$(cut -d - -f 3 <<<"$name")
    contains "$name: its tag" "$name" "-$tag-manylinux_2_"
    files=$("$tools/python" -m zipfile -l "$wheel" | awk '{ print $1 }')
    for file in husk/__init__.py husk/py.typed husk/libhusk.so.0 husk/libhusk_compile.so.0 husk/husk-compile-worker; do
        check "$name has $file" grep -qx "$file" <<<"$files"
    done
    for license in LICENSE NOTICE libzstd1.txt cffi.txt Apache-2.0.txt GPL-3.txt; do
        check "$name has the licence $license" grep -qF "dist-info/licenses/$license" <<<"$files"
    done
    bring_needs "3.${tag#cp3}" >"$scratch/log" 2>&1 || { fail "$name: pip download" "$(tail -n 5 "$scratch/log")"; continue; }
    "$tools/python" -m zipfile -e "$wheel" "$scratch/$tag"
    information=$(echo "$scratch/$tag"/*.dist-info)
    bill=$information/sboms/husk.cdx.json
    same "$name: its bill of materials" "$(python3 "$HUSK_SOURCE/tests/packages/check_bill.py" "$bill" "$scratch/$tag" "$information/licenses" 2>&1)" "good"
    for package in llvm-[0-9]*-dev 'libstdc++-[0-9]*-dev' libzstd1 libxxhash-dev cffi zlib1g; do
        check "$name: $package is in the bill" grep -q "\"name\": \"$package\"" "$bill"
    done
    same "$name: no file has this machine's folders" "$(grep -rlF -e "$HUSK_SOURCE" -e "$(realpath "$HUSK_BUILD")" "$scratch/$tag")" ""
    contains "$name: the worker does without LLVM's library" "$(ldd "$scratch/$tag/husk/husk-compile-worker")" "libc.so"
    check "$name: the worker has LLVM in it" sh -c '! ldd "$1" | grep -q LLVM' sh "$scratch/$tag/husk/husk-compile-worker"
done

# says NAME COMMAND…: the first program's output
says() {
    local name=$1
    shift
    if [ -n "$has_kvm" ]; then
        same "$name" "$("$@" 2>&1)" "$(cat "$scratch/first.out")"
    else
        contains "$name" "$("$@" 2>&1)" "NoHypervisorError"
    fi
}

# ---- a fresh Debian 12, whose Python is 3.11 ----
begin_system python python3 python3-venv
cp -r "$scratch/wheels" "$root/wheels"
cp "$scratch/first.py" "$root/root"
check "there is no compiler" sh -c '! chroot "$1" sh -c "command -v cc || command -v gcc || command -v clang"' sh "$root"
check "there is no LLVM" test -z "$(find "$root/usr/lib" -name 'libLLVM*')"
check "a virtual environment" inside python3 -m venv /venv
inside /venv/bin/pip install --no-index --find-links /wheels husk-vm >"$scratch/log" 2>&1 || fail "pip install" "$(tail -n 20 "$scratch/log")"
says "the first program, in a fresh Debian" inside /venv/bin/python /root/first.py
inside /venv/bin/pip uninstall -q -y husk-vm >"$scratch/log" 2>&1 || fail "pip uninstall" "$(tail -n 20 "$scratch/log")"
same "pip uninstall: nothing is left" "$(inside find /venv -name '*husk*')" ""

# ---- the other Pythons of this machine ----
for version in 3.12 3.13; do
    for other in "$(command -v "python$version" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python3; do
        [ -x "$other" ] && [ "$("$other" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$version" ] || continue
        "$other" -m venv "$scratch/$version" >"$scratch/log" 2>&1 &&
            "$scratch/$version/bin/pip" install --no-index --find-links "$scratch/wheels" husk-vm >>"$scratch/log" 2>&1 ||
            fail "CPython $version: pip install" "$(tail -n 20 "$scratch/log")"
        says "CPython $version: the first program" "$scratch/$version/bin/python" "$scratch/first.py"
        continue 2
    done
    skip "CPython $version" "it is not on this machine"
done
finish
