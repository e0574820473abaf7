# tests/apps/mujs_test.sh: the MuJS JavaScript interpreter from Debian's source package, reading a script from stdin and from files.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest mujs

expected='{"a":3,"b":2,"c":1}
42
1-3-5-9
06.05.2024
5000050000 0.75 Infinity 255 11111111'
got=$("$husk" run "$guest" <"$HUSK_SOURCE/tests/apps/scripts/check.js" 2>&1)
same "a script from stdin" "$(grep -v '^Welcome' <<<"$got")" "$expected"
got=$("$husk" run --dir "$HUSK_SOURCE/tests/apps/scripts::/scripts::ro" "$guest" /scripts/files.js one "two three" 2>&1)
same "scripts from files" "$got" "$expected
$(wc -c <"$HUSK_SOURCE/tests/apps/scripts/files.js" | tr -d ' ') // tests/apps/scripts/files.js
one|two three"
got=$("$husk" run --dir "$HUSK_SOURCE/tests/apps/scripts::/scripts::ro" "$guest" /scripts/nothing.js 2>&1)
check "no such script" test $? -ne 0
finish
