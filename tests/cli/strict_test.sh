# tests/cli/strict_test.sh: --strict of husk compile, run and snapshot.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
export HUSK_CACHE_DIR=$scratch/cache
cd "$scratch" || exit 1

for command in compile run snapshot; do
    out=$("$husk" $command --strict-traps a.wasm 2>&1)
    same "husk $command --strict-traps: exit code" $? 2
    contains "husk $command: the old name says the new one" "$out" "--strict-traps is now --strict"
    contains "husk $command --help" "$("$husk" $command --help)" "--strict"
done
finish
