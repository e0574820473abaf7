# tests/python/hyperlight_test.sh: what the package hyperlight-sandbox publishes runs with the import line changed: the programs of its README,
# and its tests of tools. Fetched by name, version and hash, and never installed. Its examples are in no package: programs that do the same
# are in bindings/python/tests/test_sandbox_hyperlight.py.
. "${HUSK_SOURCE:-.}/tests/python/binding.sh"
need_kvm
need_binding
need_whole_binding
need_guest python
peer=$("$HUSK_SOURCE/tools/fetch-package" "$HUSK_BUILD/guest-src" pypi-source hyperlight-sandbox 0.8.0 2>"$scratch/log") || {
    skip all "$(tail -n 1 "$scratch/log")"
    finish
}
cat >"$scratch/sums" <<SUMS
f37048bb7621032148c63623474d06986127a0388e870c67202ef3a7020b948a  $peer/README.md
072fb6596648526b3362c1a38156cb30ce05a9cebd3fa83c0a41fb9e132d7584  $peer/tests/test_tool_validation.py
SUMS
check "the package is that which was published" sha256sum --check --quiet "$scratch/sums"

# Its programs name no folder: the default one is that of the other suites.
mkdir "$scratch/cache" "$scratch/tests"
mkdir -p "$HUSK_BUILD/python/sandbox-cache"
ln -s "$HUSK_BUILD/python/sandbox-cache" "$scratch/cache/husk"
export HUSK_STANDARD_PYTHON=$guest XDG_CACHE_HOME=$scratch/cache HUSK_BACKGROUND=0
changed() { # FILE
    sed 's/^from hyperlight_sandbox import /from husk.sandbox import /' "$1"
}
changed "$peer/README.md" | awk '/^```python/ { on = 1; next } /^```/ { on = 0 } on' >"$scratch/readme.py"
check "README: there are programs" grep -q "^from husk.sandbox import Sandbox" "$scratch/readme.py"
same "README: its programs" "$("$python" "$scratch/readme.py" 2>&1)" 7
changed "$peer/tests/test_tool_validation.py" >"$scratch/tests/test_tool_validation.py"
pytest "its tests of tools" "$scratch/tests"
finish
