# tests/apps/c_files_test.sh: a program in C with everything that a C library does with files, against the same program built
# natively. It is built with Debian's clang and wasi-libc, and with Zig's compiler and the wasi-libc that comes with it: $ZIG, or a zig
# of $PATH, or PyPI's ziglang.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
program=$HUSK_SOURCE/tests/apps/c/files.c

with_clang() { # OUT
    local clang
    if ! clang=$("$HUSK_SOURCE/tools/find-llvm-tool" clang 2>&1); then
        skip clang "$clang"
        return 1
    fi
    "$clang" --target=wasm32-wasi --sysroot=/usr -Wno-deprecated "$("$HUSK_SOURCE/tools/no-wasm-opt")" -O2 -w "$program" -o "$1"
}

with_zig() { # OUT
    local zig=${ZIG:-$(command -v zig)} package
    if [ -z "$zig" ]; then
        if ! package=$("$HUSK_SOURCE/tools/fetch-package" "$HUSK_BUILD/guest-src" pypi ziglang 0.17.1 2>"$scratch/log"); then
            skip zig "no zig in PATH; $(tail -n 1 "$scratch/log")"
            return 1
        fi
        zig=$package/ziglang/zig
        chmod +x "$zig"
    fi
    ZIG_GLOBAL_CACHE_DIR=$HUSK_BUILD/zig-cache ZIG_LOCAL_CACHE_DIR=$scratch/cache \
        "$zig" cc -target wasm32-wasi -O2 -w "$program" -o "$1" >"$scratch/zig.log" 2>&1
}

mkdir "$scratch/native"
check "the native program builds" cc -w -O1 "$program" -o "$scratch/files"
"$scratch/files" "$scratch/native" >"$scratch/expected" 2>&1
there() { # DIRECTORY: the names in it
    (cd "$1" && find . | sort)
}
there "$scratch/native" >"$scratch/names"
for compiler in clang zig; do
    guest=$scratch/$compiler.wasm
    "with_$compiler" "$guest" || continue
    mkdir "$scratch/$compiler" "$scratch/$compiler-below"
    for dir in "$scratch/$compiler::/work::rw" mem::/work "$scratch/$compiler-below::/work::cow"; do
        "$husk" run --dir "$dir" "$guest" /work >"$scratch/got" 2>&1
        same_file "$compiler, ${dir#"$scratch/"}" "$scratch/got" "$scratch/expected"
    done
    there "$scratch/$compiler" >"$scratch/got"
    same_file "$compiler: what is there" "$scratch/got" "$scratch/names"
    same "$compiler, copied on write: nothing below" "$(ls "$scratch/$compiler-below")" ""
done
finish
