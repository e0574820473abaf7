# tests/python/document_test.sh: every program of docs/python.md runs, and prints what the page says; every name of the package that the page
# has is one, and all names that the package exports are on the page or in the manual of one that is.
. "${HUSK_SOURCE:-.}/tests/python/binding.sh"
need_wat2wasm
need_kvm
need_binding
need_whole_binding
document=$HUSK_SOURCE/docs/python.md
mkdir "$scratch/work"
out=$(cd "$scratch/work" && HUSK_CACHE_DIR=$scratch/cache timeout 120 "$python" "$HUSK_SOURCE/tests/python/document.py" "$document" 2>&1)
code=$?
same "the programs: exit code: $out" $code 0
contains "the programs" "$out" "programs, 0 wrong"
check "there are programs" test "$(sed -nE 's/^([0-9]+) programs.*/\1/p' <<<"$out")" -gt 10
for name in $(grep -oE '\bhusk\.[A-Za-z_]+[a-z]\b' "$document" | grep -vE '^husk\.(h|husk)$' | sort -u); do
    check "there is a $name" "$python" -c "import husk; $name"
done
# The table of the areas.
for name in $(sed -n '/^| area |/,/^$/p' "$document" | tail -n +3 | grep -oE '`[A-Za-z_0-9]+`' | tr -d '`' | sort -u); do
    check "there is a husk.$name" "$python" -c "import husk; husk.$name"
done
check "no text says that the package is in the index" sh -c '! grep -rniE "pip3? install (--?[a-z-]+ )*husk( |$|\`)" "$1/README.md" "$1/docs" "$1/bindings/python/README.md" "$1/examples/python"' sh "$HUSK_SOURCE"
# A source archive lacks the libraries.
env -C "$HUSK_SOURCE/bindings/python" "$python" -c 'import scikit_build_core.build as b, sys; b.build_sdist(sys.argv[1])' "$scratch" >"$scratch/log" 2>&1
contains "a source archive says why it cannot be built" \
    "$("$python" -m pip wheel --no-build-isolation --no-deps --no-index -w "$scratch" "$scratch"/husk_vm-*.tar.gz 2>&1)" "clone of the whole repository"
finish
