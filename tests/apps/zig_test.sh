# tests/apps/zig_test.sh: a program in Zig, if there is a zig ($ZIG, or in $PATH).
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
zig=${ZIG:-$(command -v zig)}
if [ -z "$zig" ]; then
    skip all "no zig (set ZIG to one of 0.11 to 0.14)"
    finish
fi
guest=$scratch/words.wasm
for level in ReleaseSmall Debug; do
    if ! (cd "$scratch" && "$zig" build-exe -target wasm32-wasi -O $level -femit-bin="$guest" --cache-dir cache --global-cache-dir cache \
        "$HUSK_SOURCE/examples/guests/words.zig") >"$scratch/zig.log" 2>&1; then
        fail "zig build-exe -O $level" "$(tail -n 5 "$scratch/zig.log")"
        continue
    fi
    text=$HUSK_SOURCE/LICENSE
    same "$level: counts as wc does" "$("$husk" run "$guest" <"$text" 2>&1)" \
        "$(wc -l <"$text" | tr -d ' ') lines, $(wc -w <"$text" | tr -d ' ') words, $(wc -c <"$text" | tr -d ' ') bytes"
done
finish
