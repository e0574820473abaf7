# tests/cli/readme_test.sh: what the documents say is so: the README's C program is examples/hello.c, links lead to files, make
# targets exist, and so do the options of husk that the first screen shows.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
cd "$HUSK_SOURCE" || exit 1
documents="README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md $(echo docs/*.md)"

awk '/^```c$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' README.md >"$scratch/program.c"
check "the README's program is examples/hello.c" cmp "$scratch/program.c" examples/hello.c

# shellcheck disable=SC2086 # a list of files, split on purpose
while IFS=: read -r file link; do
    check "$file: there is $link" test -e "$(dirname "$file")/${link%%#*}"
done < <(grep -H -o -E '\]\([^)#:]+[^):]*\)' $documents | sed -E 's/^([^:]*):\]\((.*)\)$/\1:\2/')
# shellcheck disable=SC2086
for target in $(grep -h -o -E '(^|`)make [a-z-]+' $documents | sed 's/.*make //' | sort -u); do
    check "there is a target $target" grep -q -E "^$target:" Makefile
done
finish
