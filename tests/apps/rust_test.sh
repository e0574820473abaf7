# tests/apps/rust_test.sh: a program in Rust with its standard library, if there is a rustc with a WASI target.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm

# The toolchain is either rustup's (target wasm32-wasip1 or wasm32-wasi) or Debian's: rustc, libstd-rust-dev-wasm32 and lld-14
# (that rustc's libraries need a wasm-ld of its own age).
guest=$scratch/words.wasm
for rustc in rustc /usr/bin/rustc; do
    for target in wasm32-wasip1 wasm32-wasi; do
        for linker in "" "-Clinker=wasm-ld-14" "-Clinker=wasm-ld"; do
            [ -s "$guest" ] || "$rustc" --target $target -O $linker -o "$guest" "$HUSK_SOURCE/examples/guests/words.rs" \
                >"$scratch/rustc.log" 2>&1
        done
    done
done
if ! [ -s "$guest" ]; then
    skip all "no rustc with a WASI target (Debian: rustc libstd-rust-dev-wasm32 lld-14)"
    finish
fi
text=$HUSK_SOURCE/LICENSE
got=$("$husk" run "$guest" one "two three" <"$text" 2>&1)
contains "counts as wc does" "$got" "$(wc -l <"$text" | tr -d ' ') lines, $(wc -w <"$text" | tr -d ' ') words, $(wc -c <"$text" | tr -d ' ') bytes"
contains "finds the most frequent words" "$got" "$(tr -s ' \t' '\n' <"$text" | grep -v '^$' | LC_ALL=C sort | uniq -c | LC_ALL=C sort -k1,1nr -k2 | awk 'NR == 1 {printf "%5d %s", $1, $2}')"
contains "arguments" "$got" "argument 2: two three"
printf 'a\377b' | "$husk" run "$guest" >"$scratch/out" 2>&1
same "bad UTF-8: exit code" $? 1
contains "bad UTF-8" "$(cat "$scratch/out")" "UTF-8"
finish
