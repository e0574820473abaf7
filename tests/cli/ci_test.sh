# tests/cli/ci_test.sh: .ci/run with programs in the place of its stages: it adds up, says how long each stage took, and fails if one
# did; and the table of docs/testing.md has just those stages, with a sum that leaves room below the limit.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
tree=$scratch/tree
mkdir -p "$tree/.ci" "$tree/tools" "$tree/bin"
cp "$HUSK_SOURCE/.ci/run" "$tree/.ci"
stub() { # FILE TEXT: a program
    printf '#!/bin/sh\n%s\n' "$2" >"$tree/$1"
    chmod +x "$tree/$1"
}
for tool in install-deps check-layers check-sizes check-style source-files run-tidy; do stub tools/$tool 'exit 0'; done
for program in cmake ninja clang-format; do stub bin/$program 'exit 0'; done
mkdir -p "$tree/tests/python"
stub tests/python/wasi_python_test.sh 'echo "wasi_python: 5 passed, 0 failed, 0 skipped"'
stub tools/find-llvm-tool 'echo clang-22'
stub tools/run-tests 'echo "5 passed, 0 failed, 1 skipped"'
stub bin/make 'echo "$*: words"; [ -z "$MAKE_FAILED" ] || echo "failed: kvm/some: it broke"; echo "100 passed, ${MAKE_FAILED:-0} failed, 2 skipped"; exit "${MAKE_FAILED:-0}"'
ci() { # NAME CODE: $out is what it printed
    local code
    out=$(PATH=$tree/bin:$PATH "$tree/.ci/run" 2>&1)
    code=$?
    same "$1: exit code" $code "$2"
}
ci "all pass" 0
stages=$(sed -n 's/^=== \(.*\) (at [0-9]* s)$/\1/p' <<<"$out" | grep -vxE 'minutes|done')
checks=$(grep -c . <<<"$stages")
suites=$(grep -cE '^[0-9]+ passed' <<<"$out")
check "there are stages" test "$checks" -gt 10
same "the sum" "$(tail -n 1 <<<"$out" | grep -cE '^[0-9]+ passed, 0 failed, [0-9]+ skipped$')" 1
check "suites are counted" test "$suites" -gt 4
minutes=$(sed -n '/^=== minutes/,/^=== done/p' <<<"$out" | grep -E ' [0-9]+\.[0-9]$' | sed -E 's/ +[0-9.]+$//')
same "each stage has its minutes" "$minutes" "$stages
all"
MAKE_FAILED=3 ci "a suite fails" 1
contains "a suite fails" "$(tail -n 1 <<<"$out")" " passed, "
check "failures are counted" test "$(tail -n 1 <<<"$out" | awk '{ print $3 }')" -ge 3
again=$(sed -n '/^=== done/,$p' <<<"$out")
contains "what failed is said again at the end" "$again" "failed: kvm/some: it broke"
stub tools/check-layers 'exit 1'
ci "a check fails" 1
contains "a check fails" "$(sed -n '/^=== done/,$p' <<<"$out")" "FAILED: layers"
stub tools/check-layers 'exit 0'
stub tools/run-tests 'exit 0'
ci "a suite ends without a sum" 1
contains "a suite ends without a sum" "$out" "ended without a sum"

# tools/run-tests says what failed once more, right before the sum.
lane=$scratch/build/tests/made-up
mkdir -p "$lane"
printf '#!/bin/sh\necho "a.c:7: t: CHECK(x)"; echo "skipped: u: why"; echo "broken: 1 passed, 1 failed, 1 skipped"; exit 1\n' >"$lane/broken"
chmod +x "$lane/broken"
out=$(HUSK_KERNEL_LOG=off "$HUSK_SOURCE/tools/run-tests" "$scratch/build" made-up | tail -n 3)
same "run-tests: failures before the sum" "$out" "failed: made-up/broken: a.c:7: t: CHECK(x)
failed: made-up/broken: broken: 1 passed, 1 failed, 1 skipped
1 passed, 1 failed, 1 skipped"

# A suite that changes the mode of /dev/null, here of one in a namespace of its own.
own_null='mount -t tmpfs husk-test "$1" && mknod -m 666 "$1/null" c 1 3'
mkdir "$scratch/devices"
if [ "$(id -u)" = 0 ] && unshare -m sh -c "$own_null" sh "$scratch/devices" 2>/dev/null; then
    printf '#!/bin/sh\nchmod 644 /dev/null\necho "broken: 1 passed, 0 failed, 0 skipped"\n' >"$lane/broken"
    out=$(HUSK_KERNEL_LOG=off unshare -m sh -c "$own_null"' && mount --bind "$1/null" /dev/null && "$2" "$3" made-up' sh "$scratch/devices" "$HUSK_SOURCE/tools/run-tests" "$scratch/build" | tail -n 3)
    same "run-tests: a suite that harms the machine" "$out" "failed: a suite changed a device of this machine: it was /dev/null crw-rw-rw- 0:0 1,3
failed: a suite changed a device of this machine: now /dev/null crw-r--r-- 0:0 1,3
1 passed, 1 failed, 0 skipped"
    same "this machine was not harmed" "$(stat -c %a /dev/null)" 666
else
    skip "run-tests: a suite that harms the machine" "needs root, mount namespaces and device nodes"
fi

# The table: stage, what it is, minutes; the last row is their sum.
table=$(sed -n '/^| stage |/,/^$/p' "$HUSK_SOURCE/docs/testing.md" | tail -n +3 | grep '^|')
rows=$(awk -F ' *[|] *' '$2 != "all" { print $2 }' <<<"$table")
same "docs/testing.md: the stages" "$rows" "$(sed 's/clang-22/clang/' <<<"$stages")"
sum=$(awk -F ' *[|] *' '$2 != "all" { tenths += $4 * 10 } END { printf "%.1f", tenths / 10 }' <<<"$table")
same "docs/testing.md: the sum" "$(awk -F ' *[|] *' '$2 == "all" { print $4 }' <<<"$table")" "$sum"
check "docs/testing.md: $sum minutes are below 80" awk -v sum="$sum" 'BEGIN { exit !(sum > 5 && sum < 80) }'
finish
