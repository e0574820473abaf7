# tests/apps/cpp_test.sh: a program in C++ with iostreams and containers.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
guest=$scratch/words.wasm
for cxx in clang++-22 clang++-21 clang++-20 clang++-19 clang++; do
    [ -s "$guest" ] || "$cxx" --target=wasm32-wasi --sysroot=/usr -Wno-deprecated "$("$HUSK_SOURCE/tools/no-wasm-opt")" -O2 -fno-exceptions \
        "$HUSK_SOURCE/examples/guests/words.cpp" -o "$guest" >>"$scratch/cxx.log" 2>&1
done
if ! [ -s "$guest" ]; then
    skip all "no clang++ with libc++ for wasm32-wasi (Debian: libc++-22-dev-wasm32 libc++abi-22-dev-wasm32)"
    finish
fi
text=$HUSK_SOURCE/LICENSE
got=$("$husk" run "$guest" one "two three" <"$text" 2>&1)
contains "counts as wc does" "$got" "$(wc -l <"$text" | tr -d ' ') lines, $(wc -w <"$text" | tr -d ' ') words, $(wc -c <"$text" | tr -d ' ') bytes"
contains "finds the most frequent word" "$got" "$(tr -s ' \t' '\n' <"$text" | grep -v '^$' | LC_ALL=C sort | uniq -c | LC_ALL=C sort -k1,1nr -k2 | awk 'NR == 1 {print $1, $2}')"
contains "arguments" "$got" "argument 2: two three"
finish
