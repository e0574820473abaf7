# tests/apps/jq_test.sh: jq from Debian's source package, without regular expressions: its own test suite, with the modules that it
# loads from files; and programs and data in files.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest jq
tests=$HUSK_BUILD/guest-src/jq/tests
jq() { # ARGUMENT…
    "$husk" run -O0 --stack 64M --dir "$tests::/tests::ro" --dir "$scratch::/work::ro" "$guest" "$@"
}

for suite_file in jq base64 optional; do
    jq -L /tests/modules --run-tests "/tests/$suite_file.test" >"$scratch/out" 2>&1
    same "$suite_file.test: exit code" $? 0
    count=$(sed -n 's/^\([0-9]*\) of \([0-9]*\) tests passed (0 malformed)$/\1 \2/p' "$scratch/out")
    same "$suite_file.test: all pass" "${count% *}" "${count#* }"
    check "$suite_file.test: it has some" test "${count% *}" -gt 2
done
echo 'def twice: . * 2; .[] | select(. > $least) | twice' >"$scratch/program.jq"
echo '[1, 20, 300]' >"$scratch/data.json"
echo '{"from": "a file"}' >"$scratch/other.json"
same "a program in a file" "$(jq --argjson least 10 -f /work/program.jq /work/data.json 2>&1)" "40
600"
same "more files" "$(jq -c --slurpfile o /work/other.json --rawfile raw /work/program.jq '[$o, ($raw | length), input_filename, add]' /work/data.json 2>&1)" \
    '[[{"from":"a file"}],51,"/work/data.json",321]'
same "standard input" "$(printf '{"a":1}{"a":2}' | jq -c -s 'map(.a)' 2>&1)" "[1,2]"
jq . /work/missing.json >"$scratch/out" 2>&1
same "no such file: exit code" $? 2
contains "no such file" "$(cat "$scratch/out")" "Could not open file /work/missing.json: No such file or directory"
same "an error of the program" "$(echo '{}' | jq '.[0]' 2>&1; echo $?)" "jq: error (at <stdin>:1): Cannot index object with number
5"
finish
