# tests/unit/circles_test.sh: no files of libhusk use one another in a circle.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
# `object type symbol` of what is not static.
nm -A "$HUSK_BUILD/host/libhusk.a" | sed 's/^[^:]*:\([^:]*\):/\1 /' |
    awk '$(NF - 1) ~ /^[A-Z]$/ { print $1, $(NF - 1), $NF }' >"$scratch/symbols"
# `user definer`, for tsort, which complains of circles.
awk 'NR == FNR { if ($2 != "U") definer[$3] = $1; next }
    $2 == "U" && $3 in definer { print $1, definer[$3] }' "$scratch/symbols" "$scratch/symbols" |
    sort -u >"$scratch/pairs"
check "uses were found" test "$(wc -l <"$scratch/pairs")" -gt 100
same "no circle" "$(tsort "$scratch/pairs" 2>&1 >/dev/null)" ""
echo vm_kvm.c.o run.c.o >>"$scratch/pairs"
contains "a circle would be found" "$(tsort "$scratch/pairs" 2>&1 >/dev/null)" "loop"
finish
