# tests/apps/setjmp_test.sh: setjmp() and longjmp(), and programs in C whose errors they are: Lua, MuJS, Duktape and libpng from Debian's
# source packages, in both encodings of exceptions, against the same sources built natively.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
src=$HUSK_BUILD/guest-src
scripts=$HUSK_SOURCE/tests/apps/scripts

compare() { # NAME ENCODING: the guest's standard output, standard error and exit code are the native program's
    same_file "$1, $2: output" "$scratch/got" "$scratch/expected"
    same_file "$1, $2: errors" "$scratch/got.err" "$scratch/expected.err"
    same "$1, $2: exit code" "$(cat "$scratch/got.exit")" "$(cat "$scratch/expected.exit")"
}

into() { # NAME COMMAND…: its output, errors and exit code to files
    local name=$1
    shift
    "$@" >"$scratch/$name" 2>"$scratch/$name.err"
    echo $? >"$scratch/$name.exit"
}

native() { # NAME FOLDER ARGUMENT…: built by cc in a folder of sources
    local name=$1 folder=$2
    shift 2
    (cd "$folder" && cc -w "$@" -lm -o "$scratch/$name") >"$scratch/cc.log" 2>&1 || fail "$name, natively" "$(tail -n 3 "$scratch/cc.log")"
}

in_scripts() { # PROGRAM ARGUMENT…
    (cd "$scripts" && "$@")
}

# The C files of a folder that are a library's, each once.
except() { # FOLDER FILE…
    local folder=$1 file
    shift
    for file in "$folder"/*.c; do
        [[ " $* " = *" ${file##*/} "* ]] || echo "$file"
    done
}

is_legacy() { # ENCODING
    [ "$1" = legacy ] && echo true || echo false
}

# What docs/guests.md says for each compiler.
with_clang() { # OPTION…
    clang-22 --target=wasm32-wasi --sysroot=/usr -Wno-deprecated "$("$HUSK_SOURCE/tools/no-wasm-opt")" \
        -I"$HUSK_SOURCE/examples/guests" "$HUSK_SOURCE/examples/guests/setjmp.c" "$@"
}
with_zig() { # OPTION…
    echo '__asm__(".globl __c_longjmp\n.tagtype __c_longjmp i32\n__c_longjmp:");' >"$scratch/tag.c"
    ZIG_GLOBAL_CACHE_DIR=$HUSK_BUILD/zig-cache ZIG_LOCAL_CACHE_DIR=$scratch/cache \
        "$zig/ziglang/zig" cc -target wasm32-wasi "$scratch/tag.c" "$@"
}
compilers=(clang)
if zig=$("$HUSK_SOURCE/tools/fetch-package" "$HUSK_BUILD/guest-src" pypi ziglang 0.17.1 2>"$scratch/log"); then
    chmod +x "$zig/ziglang/zig"
    compilers+=(zig)
else
    skip zig "$(tail -n 1 "$scratch/log")"
fi
if ! command -v clang-22 >/dev/null; then
    skip all "no clang-22"
    finish
fi
check "setjmp.c is built natively" cc -w "$HUSK_SOURCE/tests/apps/c/setjmp.c" -o "$scratch/setjmp"
"$scratch/setjmp" >"$scratch/expected"
for compiler in "${compilers[@]}"; do
    for encoding in legacy exnref; do
        check "setjmp.c, $compiler, $encoding: builds" "with_$compiler" -O2 -mexception-handling -mllvm -wasm-enable-sjlj \
            -mllvm "-wasm-use-legacy-eh=$(is_legacy $encoding)" "$HUSK_SOURCE/tests/apps/c/setjmp.c" -o "$scratch/setjmp.wasm"
        "$husk" run "$scratch/setjmp.wasm" >"$scratch/got" 2>&1
        same_file "setjmp.c, $compiler, $encoding" "$scratch/got" "$scratch/expected"
    done
done

for encoding in legacy exnref; do
    need_guest "lua_$encoding"
    [ -x "$scratch/lua" ] || native lua "$src/lua5.4/src" -I"$src/lua-generated" $(except "$src/lua5.4/src" luac.c)
    into expected in_scripts "$scratch/lua" throw.lua
    into got "$husk" run --argv0 "$scratch/lua" --dir "$scripts::/::ro" "$guest" throw.lua
    compare Lua "$encoding"

    need_guest "mujs_$encoding"
    [ -x "$scratch/mujs" ] || native mujs "$src/mujs" one.c main.c
    into expected in_scripts "$scratch/mujs" throw.js
    into got "$husk" run --dir "$scripts::/::ro" "$guest" throw.js
    compare MuJS "$encoding"

    need_guest "duktape_$encoding"
    [ -x "$scratch/duktape" ] || native duktape "$src/duktape" -DDUK_CMDLINE_PRINTALERT_SUPPORT -Isrc -Iextras/print-alert \
        src/duktape.c examples/cmdline/duk_cmdline.c extras/print-alert/duk_print_alert.c
    into expected in_scripts "$scratch/duktape" throw.js
    into got "$husk" run --dir "$scripts::/::ro" "$guest" throw.js
    compare Duktape "$encoding"
done

# Images of libpng's own tests, whole, and damaged 20 times each.
images=(pngtest.png pngnow.png contrib/testpngs/{gray-1,gray-16-tRNS,gray-alpha-8-sRGB,palette-2-1.8,palette-8,rgb-16-linear,rgb-alpha-8}.png)
for encoding in legacy exnref; do
    need_guest "png_$encoding"
    if ! [ -x "$scratch/png" ]; then
        native png "$src/libpng1.6" -DPNG_INTEL_SSE_OPT=0 -I. -I../zlib $(except "$src/libpng1.6" pngtest.c example.c) \
            ../zlib/{adler32,crc32,deflate,inffast,inflate,inftrees,trees,zutil}.c "$HUSK_SOURCE/tests/apps/c/png.c"
        into expected "$scratch/png" 20 "${images[@]/#/$src/libpng1.6/}"
        check "libpng: some are damaged" test "$(grep -c error: "$scratch/expected")" -gt 50
    fi
    into got "$husk" run --dir "$src/libpng1.6::/png::ro" "$guest" 20 "${images[@]/#//png/}"
    compare libpng "$encoding"
done
finish
