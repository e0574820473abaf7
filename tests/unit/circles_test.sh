# tests/unit/circles_test.sh: no files of libhusk, and none of the compiler, use one another in a circle.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
# uses ARCHIVE…: which object uses which, to $scratch/pairs.
uses() {
    # `object type symbol` of what is not static.
    nm -A "$@" | sed 's/^[^:]*:\([^:]*\):/\1 /' |
        awk 'NF > 1 && $(NF - 1) ~ /^[A-Z]$/ { print $1, $(NF - 1), $NF }' >"$scratch/symbols"
    # `user definer`, for tsort, which complains of circles.
    awk 'NR == FNR { if ($2 != "U") definer[$3] = $1; next }
        $2 == "U" && $3 in definer { print $1, definer[$3] }' "$scratch/symbols" "$scratch/symbols" |
        sort -u >"$scratch/pairs"
}

# no_circle WHAT USES ARCHIVE…: fewer pairs than USES would mean that nothing was looked at.
no_circle() {
    local what=$1 least=$2
    shift 2
    uses "$@"
    check "uses were found in $what" test "$(wc -l <"$scratch/pairs")" -gt "$least"
    same "no circle in $what" "$(tsort "$scratch/pairs" 2>&1 >/dev/null)" ""
}
no_circle compiler 60 "$HUSK_BUILD"/compiler/libhusk_{contain,plan,codegen,link}.a
no_circle client 5 "$HUSK_BUILD/compiler/libhusk_compile.a"
no_circle libhusk 100 "$HUSK_BUILD/host/libhusk.a"
echo vm_kvm.c.o run.c.o >>"$scratch/pairs"
contains "a circle would be found" "$(tsort "$scratch/pairs" 2>&1 >/dev/null)" "loop"
finish
