# tests/apps/mujs_test.sh: the MuJS JavaScript interpreter from Debian's source package, reading a script from stdin.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest mujs

got=$("$husk" run "$guest" <"$HUSK_SOURCE/tests/apps/scripts/check.js" 2>&1)
same "a script from stdin" "$(grep -v '^Welcome' <<<"$got")" '{"a":3,"b":2,"c":1}
42
1-3-5-9
06.05.2024
5000050000 0.75 Infinity 255 11111111'
finish
