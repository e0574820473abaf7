# tests/apps/flite_test.sh: flite, which speaks, from npm: text to WAV files, whose bytes are those that another engine made.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest flite
work=$scratch/work
mkdir "$work"
echo "Husk runs untrusted code." >"$work/in.txt"
sums="be03e782ebccd3db26bd8cea03a9f3fa85c47c52bea65d9953dfd057c72b6f46  hello.wav
870959e39aa7640d3d55da31d65532e7e2f96fd65634bff2cfc3b5be990026b2  out.wav"

"$husk" run -O0 --dir "$work::/work" "$guest" /work/in.txt /work/out.wav >"$scratch/said" 2>&1
same "a file: exit code" $? 0
"$husk" run -O0 --dir "$work::/work" "$guest" -t "hello world" -o /work/hello.wav >"$scratch/said" 2>&1
same "a text: exit code" $? 0
same "the waves" "$(cd "$work" && sha256sum hello.wav out.wav)" "$sums"
contains "the header" "$(head -c 12 "$work/out.wav" | tr -d '\0')" WAVE
"$husk" run -O0 --dir "$work::/work::ro" "$guest" -t "hello world" -o /work/no.wav >"$scratch/said" 2>&1
check "a folder that is only read" test ! -e "$work/no.wav"
"$husk" run -O0 "$guest" -t "hello world" -o /work/no.wav >"$scratch/said" 2>&1
contains "no folder" "$(cat "$scratch/said")" "can't open"
finish
