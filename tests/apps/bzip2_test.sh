# tests/apps/bzip2_test.sh: bzip2 from Debian's source package, as a filter, against the native command.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest bzip2

# Text that compresses, bytes that do not, nothing, one byte.
awk 'BEGIN { for (i = 0; i < 60000; i++) print "line", i, i * i % 977, "the same words again" }' >"$scratch/text"
head -c 300000 "$HUSK_BUILD/husk" >"$scratch/binary"
: >"$scratch/empty"
printf x >"$scratch/byte"
for input in text binary empty byte; do
    "$husk" run "$guest" -zc <"$scratch/$input" >"$scratch/$input.bz2" 2>"$scratch/err"
    same "$input: exit code" $? 0
    bzip2 -c <"$scratch/$input" >"$scratch/$input.native"
    check "$input: compresses to the same bytes as the native command" cmp "$scratch/$input.bz2" "$scratch/$input.native"
    "$husk" run "$guest" -dc <"$scratch/$input.native" >"$scratch/$input.back" 2>"$scratch/err"
    check "$input: comes back" cmp "$scratch/$input.back" "$scratch/$input"
done
head -c 5000 "$scratch/text.native" >"$scratch/cut.bz2"
"$husk" run "$guest" -dc <"$scratch/cut.bz2" >/dev/null 2>"$scratch/err"
check "a cut file is refused" test $? -ne 0
finish
