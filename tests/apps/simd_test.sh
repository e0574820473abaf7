# tests/apps/simd_test.sh: real programs built with -msimd128 (libpng, zstd, brotli, RapidJSON, SQLite) write what the same sources
# write natively, at two levels; the smaller ones in strict mode, too. tests/apps/simd/ has the programs.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm

# Builds simd_NAME twice; false, with everything about it skipped, where its sources or tools are missing.
has_program() { # NAME
    "$HUSK_SOURCE/tests/apps/simd/build" "$HUSK_BUILD" "$1" >"$scratch/log" 2>&1
    case $? in
    0) return 0 ;;
    77) skip "$1" "$(tail -n 1 "$scratch/log")" ;;
    *) fail "building $1" "$(tail -n 20 "$scratch/log")" ;;
    esac
    return 1
}

# Runs simd_NAME natively and in a sandbox at each level: same exit code, same bytes. The native output is left in $scratch/native.
both() { # TITLE NAME INPUT ARGUMENT…
    local title=$1 program=$HUSK_BUILD/guests/simd_$2 input=$3 mode status expected modes=(-O2 -O0)
    case $2 in png | json) modes+=(--strict) ;; esac
    shift 3
    "$program" "$@" <"$input" >"$scratch/native" 2>/dev/null
    expected=$?
    for mode in "${modes[@]}"; do
        "$husk" run $mode "$program.wasm" "$@" <"$input" >"$scratch/got" 2>"$scratch/err"
        status=$?
        same "$title, $mode: exit code" "$status" "$expected"
        check "$title, $mode: bytes" cmp "$scratch/got" "$scratch/native"
    done
}

awk 'BEGIN { for (i = 0; i < 12000; i++) print "line", i, i * i % 977, "the same words again, and others:", i % 7 * i % 13 }' >"$scratch/text"
head -c 200000 "$HUSK_BUILD/husk" >"$scratch/binary"
: >"$scratch/empty"
awk 'BEGIN { print "[" ; for (i = 0; i < 4000; i++) printf "%s   {\"name\": \"n\\u00e9 \\\"%d\\\"\",\t\"list\": [%d, %.6f, null, true, [], {}], \"text\": \"%s\"}",
    i ? ",\n" : "", i, i, i / 7, "some words that are long enough for sixteen bytes at once" ; print "]" }' >"$scratch/json"

if has_program zstd; then
    for input in text binary empty; do
        for level in 1 5 15; do
            both "zstd $level $input" zstd "$scratch/$input" $level
        done
        cp "$scratch/native" "$scratch/packed"
        both "zstd -d $input" zstd "$scratch/packed" -d
        check "zstd: $input comes back" cmp "$scratch/native" "$scratch/$input"
    done
fi
if has_program brotli; then
    for input in text binary empty; do
        for quality in 2 9; do
            both "brotli $quality $input" brotli "$scratch/$input" $quality
        done
        cp "$scratch/native" "$scratch/packed"
        both "brotli -d $input" brotli "$scratch/packed" -d
        check "brotli: $input comes back" cmp "$scratch/native" "$scratch/$input"
    done
fi
if has_program png; then
    for channels in 1 2 3 4; do
        both "png -e, $channels channels" png "$scratch/binary" -e 211 199 $channels
        cp "$scratch/native" "$scratch/packed"
        both "png, $channels channels" png "$scratch/packed"
        check "png: $channels channels come back" cmp "$scratch/native" <(head -c $((211 * 199 * channels)) "$scratch/binary")
    done
    head -c 1000 "$scratch/packed" >"$scratch/cut"
    "$husk" run "$HUSK_BUILD/guests/simd_png.wasm" <"$scratch/cut" >/dev/null 2>&1
    check "png: a cut file is refused" test $? -ne 0
fi
if has_program json; then
    both "json" json "$scratch/json"
    cp "$scratch/native" "$scratch/indented"
    both "json, indented" json "$scratch/indented"
    both "json, not JSON" json "$scratch/text"
fi
if has_program sqlite; then
    both "sqlite" sqlite "$HUSK_SOURCE/tests/apps/scripts/check.sql" :memory:
fi
finish
