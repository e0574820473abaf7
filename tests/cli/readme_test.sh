# tests/cli/readme_test.sh: what the documents say is so: the README is short, its program and that of husk(3) run, links lead to files,
# make targets exist, so do functions, types, constants and metrics, and what they show of C compiles.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
cd "$HUSK_SOURCE" || exit 1
documents="README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md $(echo docs/*.md)"

check "the README is short" test "$(wc -l <README.md)" -le 120

# shellcheck disable=SC2086 # a list of files, split on purpose
while IFS=: read -r file link; do
    check "$file: there is $link" test -e "$(dirname "$file")/${link%%#*}"
done < <(grep -H -o -E '\]\([^)#:]+[^):]*\)' $documents | sed -E 's/^([^:]*):\]\((.*)\)$/\1:\2/')
# shellcheck disable=SC2086
for target in $(grep -h -o -E '(^|`)make [a-z-]+' $documents | sed 's/.*make //' | sort -u); do
    check "there is a target $target" grep -q -E "^$target:" Makefile
done

# ---- names ----
manuals=$(echo docs/man/*.[138])
# The headers without their comments: a name that only a comment has does not exist.
awk -v RS='[*]/' '{ sub(/\/[*].*/, "") } 1' include/*.h >"$scratch/headers"
grep -ohE '^(HUSK_API|static inline)[^(]*\(' "$scratch/headers" | grep -oE 'husk_[a-z0-9_]+' | sort -u >"$scratch/functions"
check "functions were found" test "$(wc -l <"$scratch/functions")" -gt 60
# The metrics of durations.def: an engine's histograms, and a sandbox's sums.
durations() {
    sed -nE 's/^DURATION\([A-Z_]+, ([a-z_]+), .*/\1_seconds sandbox_\1_seconds_total/p' host/engine/durations.def | tr ' ' '\n'
}
{
    grep -ohE '\bhusk_[a-z0-9_]+' "$scratch/headers"
    echo 'husk_compile' # the header's name
    grep -ohE '"[a-z_]+"' host/engine/*.def host/engine/*.c | tr -d '"' | sed 's/^/husk_/' # metrics
    grep -ohE '^SANDBOX_STAT.*' host/engine/stats.def | grep -oE '"[a-z_]+"' | tr -d '"' | sed 's/^/husk_sandbox_/'
    durations | sed 's/^/husk_/'
    grep -ohE '"[a-z_]+"' serve/metrics.c | tr -d '"' | sed 's/^/husk_serve_/'
    # What guests export, what is not of the interface, and an example of a name.
    printf '%s\n' husk_restored husk_handle husk_init husk_image_header husk_bench husk_peers husk_trace husk_noun_verb
} | sort -u >"$scratch/names"
# claims.md quotes lines of our own sources.
documents=${documents/docs\/claims.md/}
# shellcheck disable=SC2086
for name in $(grep -ohE '\bhusk_[a-z0-9_]*[a-z0-9]\(' $documents $manuals | tr -d '(' | sort -u); do
    [ "$name" = husk_restored ] || check "there is a function $name" grep -qx "$name" "$scratch/functions"
done
# shellcheck disable=SC2086
for name in $(grep -ohE '\bhusk_[a-z0-9_]*[a-z0-9]' $documents $manuals | sort -u); do
    check "there is a $name" grep -qx "$name" "$scratch/names"
done
# All metrics, in one page.
{
    grep -hoE '^(SANDBOX_)?STAT\([a-z_]+, "[a-z_]+"' host/engine/*.def
    grep -hoE '^SANDBOX_STAT\([a-z_]+, "[a-z_]+"' host/engine/*.def | sed 's/"/"sandbox_/'
    grep -hoE '\bput_(counter|gauge|header)\(.*"[a-z_]+"' host/engine/*.c | grep -oE '^[^"]*"[a-z_]+"'
    durations | sed 's/.*/"&"/'
} | grep -oE '"[a-z_]+"' | tr -d '"' | grep -vxE 'counter|gauge|histogram' | sort -u >"$scratch/metrics"
check "metrics were found" test "$(wc -l <"$scratch/metrics")" -gt 30
while read -r name; do
    check "metrics.md has husk_$name" grep -q "\`husk_$name[\`{]" docs/metrics.md
done <"$scratch/metrics"
{
    grep -ohE '\bHUSK_[A-Z0-9_]+' "$scratch/headers"
    sed -nE 's/.*HUSK_STATUS\(([A-Z_]+), [0-9]+.*/HUSK_E_\1/p' "$scratch/headers"
    grep -rohE '\bHUSK_[A-Z0-9_]+' abi cli oci tests tools CMakeLists.txt Makefile # variables, options, the format
} | sort -u >"$scratch/constants"
# shellcheck disable=SC2086
for name in $(grep -ohE '\bHUSK_[A-Z0-9_]*[A-Z0-9]' $documents $manuals | sort -u); do
    check "there is a $name" grep -qx "$name" "$scratch/constants"
done
# Members of structs that docs/from-hyperlight.md names beside the other library's setters.
for name in memory_max_bytes stack_bytes stdout_fd measure_times host_call_depth_max is_poisoned; do
    check "from-hyperlight.md names $name" grep -q "$name" docs/from-hyperlight.md
    check "there is a member $name" grep -qE "\b$name\b" "$scratch/headers"
done

# ---- C ----
awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' docs/from-hyperlight.md >"$scratch/hyperlight.c"
check "from-hyperlight.md has a program" grep -q husk_sandbox_restore "$scratch/hyperlight.c"
check "from-hyperlight.md's program compiles" cc -std=c11 -Wall -Wextra -Werror -fsyntax-only -Iinclude "$scratch/hyperlight.c"

# The programs of the README and of husk(3): each in the folder with the image that the README makes.
awk '/^```c$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' README.md >"$scratch/readme.c"
sed -n '/^\.Sh EXAMPLES/,/^\.Ed/p' docs/man/husk.3 | sed -n '/^#include/,/^\.Ed/p' | sed '/^\.Ed/d; s/\\e/\\/g' >"$scratch/manual.c"
if grep -qs '^HUSK_SANITIZE:STRING=.' "$HUSK_BUILD/CMakeCache.txt" || ! [ -f "$HUSK_BUILD/host/libhusk.so" ]; then
    skip "the programs of README.md and husk(3)" "a sanitizer build, or no shared library"
    finish
fi
for name in readme manual; do
    check "the program of $name compiles" cc -std=c11 -Wall -Wextra -Werror -Iinclude "$scratch/$name.c" -o "$scratch/$name" \
        "$HUSK_BUILD/host/libhusk.so" -Wl,-rpath,"$HUSK_BUILD/host"
done
same "both say why they fail" "$(cd "$scratch" && ./readme 2>&1 >/dev/null | grep -c .; ./manual 2>&1 >/dev/null | grep -c .)" "1
1"
need_kvm
if ! command -v wat2wasm >/dev/null || ! [ -x "$HUSK_BUILD/husk-compile-worker" ]; then
    skip "the programs of README.md and husk(3) run" "no wat2wasm (package wabt), or built without the compiler"
    finish
fi
cat >"$scratch/next.wat" <<'WAT'
(module (global $n (mut i32) (i32.const 0))
  (func (export "next") (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))
WAT
cd "$scratch" || exit 1
wat2wasm next.wat -o next.wasm
check "the image" "$husk" compile next.wasm -o next.husk
for name in readme manual; do
    same "the program of $name" "$("./$name"; echo $?)" "1
1
1
0"
done
finish
