# tests/apps/csmith_test.sh: random C programs (csmith), as wasm in a sandbox and native, must print the same checksum of all their
# globals. csmith's types have fixed sizes and its arithmetic no undefined behaviour, so that long and pointers of another size do not
# show. CSMITH_COUNT programs from seed CSMITH_SEED on, at the optimisation levels in turn.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
headers=/usr/include/csmith
count=${CSMITH_COUNT:-12}
seed=${CSMITH_SEED:-1}
if ! command -v csmith >/dev/null || ! [ -f "$headers/csmith.h" ]; then
    skip all "no csmith (packages csmith, libcsmith-dev)"
    finish
fi
if ! clang=$("$HUSK_SOURCE/tools/find-llvm-tool" clang 2>&1); then
    skip all "$clang"
    finish
fi
wasm_cc=("$clang" --target=wasm32-wasi --sysroot=/usr "$("$HUSK_SOURCE/tools/no-wasm-opt")" "-fuse-ld=$(command -v "wasm-ld-${clang#clang-}")")
flags=(-w -I"$headers")

# Programs that do not end by themselves soon are made now and then: those prove nothing and are counted apart.
endless=0
cd "$scratch" || exit 1 # csmith leaves a file
for ((i = 0; i < count; i++)); do
    number=$((seed + i))
    program=$scratch/$number
    csmith --seed $number --no-argc --max-funcs 6 --max-block-depth 4 -o "$program.c" >/dev/null
    guest_level=-O$((number % 3)) husk_level=-O$((number / 3 % 3))
    name="seed $number, clang $guest_level, husk $husk_level"
    if ! "$clang" "${flags[@]}" -O1 "$program.c" -o "$program" >"$scratch/log" 2>&1 ||
        ! "${wasm_cc[@]}" "${flags[@]}" $guest_level "$program.c" -o "$program.wasm" >>"$scratch/log" 2>&1; then
        fail "$name: building" "$(tail -n 5 "$scratch/log")"
        continue
    fi
    if ! expected=$(timeout 5 "$program"); then
        endless=$((endless + 1))
        continue
    fi
    got=$(timeout 120 "$husk" run --no-cache $husk_level "$program.wasm" 2>&1)
    same "$name" "$got" "$expected"
done
check "most programs end by themselves" test $endless -le $((count / 2))
finish
