# tests/cli/portable_test.sh: the tests do not depend on what a machine happens to have: the source folder may have a space in its path,
# and what must be absent is absent everywhere.
. "${HUSK_SOURCE:-.}/tests/harness.sh"

# ---- tools/run-tests in a folder with a space in its path ----
tree="$scratch/a folder"
mkdir -p "$tree/tools" "$tree/tests/unit" "$tree/tests/fuzz/corpus/thing" "$tree/build/tests/unit" "$tree/build/tests/fuzz"
cp "$HUSK_SOURCE/tools/run-tests" "$tree/tools"
printf '#!/bin/sh\nexit 77\n' >"$tree/tools/unpack-corpora"
printf '#!/bin/sh\necho "spec-$2: 3 passed, 0 failed, 1 skipped"\n' >"$tree/tools/run-spec"
printf 'echo "script: 5 passed, 0 failed, 0 skipped"\n' >"$tree/tests/unit/script_test.sh"
printf '#!/bin/sh\necho "program: $# passed, 0 failed, 0 skipped"\n' >"$tree/build/tests/unit/program"
printf '#!/bin/sh\n[ -d "$1" ] && echo "thing_replay: 7 passed, 0 failed, 0 skipped"\n' >"$tree/build/tests/fuzz/thing_replay"
chmod +x "$tree"/tools/* "$tree"/build/tests/*/*
out=$(cd / && "$tree/tools/run-tests" "$tree/build" unit fuzz spec-sample 2>&1)
same "a space in the path: exit code" $? 0
same "a space in the path: the sum" "$(tail -n 1 <<<"$out")" "15 passed, 0 failed, 1 skipped"
contains "a space in the path: a script" "$out" "unit/script                5 passed"
contains "a space in the path: a program has no arguments" "$out" "unit/program               0 passed"
contains "a space in the path: a fuzz target has its inputs" "$out" "fuzz/thing_replay          7 passed"

# With CDPATH, cd prints where it went; scripts take what they print for a path.
out=$(cd "$tree" && CDPATH=$scratch:. tools/run-tests build unit 2>&1)
same "CDPATH: the sum" "$(tail -n 1 <<<"$out")" "5 passed, 0 failed, 0 skipped"
same "CDPATH: the list of sources" "$(cd "$HUSK_SOURCE" && CDPATH=$scratch:. tools/source-files | grep -vcE '\.[ch]$')" 0

# ---- paths that must be absent ----
# Below /proc, where nobody can make a folder; any other name can be there.
found=$(grep -rnE "[\"'= ]/(nonexistent|nowhere|no-such|does-not-exist|missing)\b" "$HUSK_SOURCE/tests" --include='*.c' --include='*.sh' | grep -v '/portable_test.sh:')
same "no test believes that a path of a common name is absent" "$found" ""
check "/proc/absent is" test ! -e /proc/absent
finish
