# tests/python/agents_test.sh: every program of docs/agents.md runs, and prints what the page says. Its Python is fetched by name, version and hash.
. "${HUSK_SOURCE:-.}/tests/python/binding.sh"
need_kvm
need_binding
need_whole_binding
need_guest python
mkdir "$scratch/work"
mkdir -p "$scratch/cache" "$HUSK_BUILD/python/sandbox-cache"
ln -s "$HUSK_BUILD/python/sandbox-cache" "$scratch/cache/husk"
export HUSK_STANDARD_PYTHON=$guest XDG_CACHE_HOME=$scratch/cache
# The snapshots at the quick level, so that the programs, which name no level, begin no job for the optimised one.
"$python" -c 'from husk.sandbox import Sandbox
for imports in ((), ("decimal",)):
    assert Sandbox(imports=imports, level=0).run("").success' >"$scratch/log" 2>&1 || fail "the snapshots" "$(tail -n 20 "$scratch/log")"
out=$(cd "$scratch/work" && timeout 600 "$python" "$HUSK_SOURCE/tests/python/document.py" "$HUSK_SOURCE/docs/agents.md" 2>&1)
code=$?
same "the programs: exit code: $out" $code 0
contains "the programs" "$out" "programs, 0 wrong"
check "there are programs" test "$(sed -nE 's/^([0-9]+) programs.*/\1/p' <<<"$out")" -gt 5
finish
