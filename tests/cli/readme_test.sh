#!/bin/bash
# The README's C program is examples/hello.c, and its first commands do what it says.
set -uo pipefail
source_dir=${HUSK_SOURCE:?run by tools/run-tests}
passed=0 failed=0

check() { # WHAT COMMAND…
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
    fi
}

program_in_readme() {
    awk '/^```c$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' "$source_dir/README.md"
}

check "the README's program is examples/hello.c" diff <(program_in_readme) "$source_dir/examples/hello.c"
# Every file that the documents link to exists.
while IFS=: read -r file link; do
    check "$file links to $link" test -e "$(dirname "$source_dir/$file")/${link%%#*}"
done < <(cd "$source_dir" && grep -o -E '\]\([^)#:]+[^):]*\)' README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md docs/*.md |
    sed -E 's/^([^:]*):\]\((.*)\)$/\1:\2/')
echo "readme: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
