# tests/cli/headers_test.sh: the public headers compile without a warning in every version of C and C++ that there is a compiler for,
# and programs that were built against an older or a newer header than the library's run, or are refused by name.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
cd "$HUSK_SOURCE/tests/cli/headers" || exit 1
warnings="-Wall -Wextra -Wpedantic -Werror"

# All of this name, with and without a version.
compilers() { # NAME
    local version name=$1
    for version in "" -{30..9}; do
        ! command -v "$name$version" || true
    done
}

# ---- Standards ----

compile_all() { # COMPILER-NAME LANGUAGE STANDARD…
    local compiler standard found name=$1 language=$2
    shift 2
    found=$(compilers "$name")
    [ -n "$found" ] || skip "headers with $name" "no $name on this machine"
    for compiler in $found; do
        for standard; do
            # shellcheck disable=SC2086
            check "headers as $standard with $compiler" "$compiler" -x "$language" "-std=$standard" $warnings -I"$HUSK_SOURCE/include" \
                -c use.c -o "$scratch/use.o"
        done
    done
}

for name in gcc clang; do
    compile_all $name c c99 c11 c17 c2x
done
for name in g++ clang++; do
    compile_all $name c++ c++11 c++14 c++17 c++20 c++2b
done
# Each header alone, and twice.
headers=$(cd "$HUSK_SOURCE/include" && echo *.h)
for header in $headers; do
    printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' $header $header >"$scratch/alone.c"
    # shellcheck disable=SC2086
    check "$header alone" cc -std=c99 $warnings -I"$HUSK_SOURCE/include" -fsyntax-only "$scratch/alone.c"
done

# ---- Sizes ----

# Functions with more than five arguments, on one line each; husk_caller_fail() takes a format's.
awk -v RS='[*]/' '{ sub(/\/[*].*/, "") } 1' "$HUSK_SOURCE"/include/*.h | tr '\n' ' ' | tr ';{}' '\n' | grep -o 'HUSK_API.*' |
    sed -E 's/\(\*[a-z]+\)\([^()]*\)/fn/' >"$scratch/prototypes"
check "prototypes were found" test "$(wc -l <"$scratch/prototypes")" -gt 60
same "no function has more than five arguments" "$(grep -E '(,[^,]*){5}' "$scratch/prototypes")" ""
for header in $headers; do
    check "$header has at most 900 lines" test "$(wc -l <"$HUSK_SOURCE/include/$header")" -le 900
done

# ---- Versions ----

if grep -qs '^HUSK_SANITIZE:STRING=.' "$HUSK_BUILD/CMakeCache.txt" || ! [ -f "$HUSK_BUILD/host/libhusk.so" ] ||
    ! [ -f "$HUSK_BUILD/compiler/libhusk_compile.so" ]; then
    skip "headers of other versions" "a sanitizer build, or no shared libraries"
    finish
fi

structs="engine_options wasi_options wasi_stream wasi_clock wasi_request sandbox_options limits answer compile_options open_options cache_clean_options"
whole="call many bytes throw" # nothing to leave out: without its first fields it calls nothing
outputs="cache_cleaned cache_info compiled exception_info host_info extern image_info outcome backtrace stats sandbox_stats histogram wasm_info wasi_output standing"
shown="background_job cache_entry image_file" # the library's own, which a callback only reads: its size tells which fields there are
found=$(sed -nE '/^struct husk_[a-z_]+ \{$/ { N; s/^struct husk_([a-z_]+) \{\n +size_t size;.*/\1/p }' "$HUSK_SOURCE"/include/*.h | xargs)
in_order() {
    printf '%s\n' "$@" | sort | xargs
}
# shellcheck disable=SC2086
same "all structs with a size are tried" "$(in_order $found)" "$(in_order $structs $whole $outputs $shown)"

# Structs that end behind `size` and FIELDS more; "later": with a field more.
make_headers() { # FOLDER FIELDS|later
    local header
    mkdir -p "$scratch/$1"
    for header in $headers; do
        awk -v fields="$2" -v names=" $structs $outputs $([ "$2" != later ] || echo "$whole") " '
            /^struct husk_[a-z_]+ \{$/ { inside = index(names, " " substr($2, 6) " "); seen = 0 }
            /^};$/ && inside { inside = 0; if (fields == "later") print "    uint64_t later_max;" }
            !inside || fields == "later" || seen <= fields
            inside && /^    [a-z].*;/ { seen++ }' "$HUSK_SOURCE/include/$header" >"$scratch/$1/$header"
    done
}

build() { # FOLDER FLAG…
    local folder=$1
    shift
    # shellcheck disable=SC2086
    check "a program with the headers of $folder" cc -std=c11 $warnings "$@" -I"$scratch/$folder" grown.c -o "$scratch/$folder/grown" \
        "$HUSK_BUILD/host/libhusk.so" "$HUSK_BUILD/compiler/libhusk_compile.so" -Wl,-rpath,"$HUSK_BUILD/host:$HUSK_BUILD/compiler"
}

runs() { # FOLDER
    if ! [ -x "$HUSK_BUILD/husk-compile-worker" ]; then
        skip "the program of $1 runs" "built without the compiler"
    elif [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
        same "the program of $1 runs" "$("$scratch/$1/grown")" 42
    else
        skip "the program of $1 runs" "no /dev/kvm"
    fi
}

make_headers oldest 0
build oldest
make_headers older 1
build older -DHAS_FIRST
make_headers newer later
build newer -DHAS_FIRST -DHAS_LATER
for folder in oldest older newer; do
    runs $folder
done
bytes() { # FOLDER: of all structs
    {
        printf '#include <stdio.h>\n#include <husk_compile.h>\nint main(void) {\n'
        for name in $structs; do
            printf 'printf("%%zu ", sizeof(struct husk_%s));\n' "$name"
        done
        echo 'return 0; }'
    } >"$scratch/bytes.c"
    cc -I"$1" "$scratch/bytes.c" -o "$scratch/bytes" && "$scratch/bytes"
}
same "the oldest structs are sizes" "$(bytes "$scratch/oldest")" "8 8 8 8 8 8 8 8 8 8 8 "
same "older structs are shorter" "$(bytes "$scratch/older")" "16 16 16 16 16 16 16 16 16 16 16 "
for name in $structs $whole extern; do
    if [ "$name" != compile_options ] && { ! [ -w /dev/kvm ] || ! [ -x "$HUSK_BUILD/husk-compile-worker" ]; } then
        skip "an unknown option in $name" "no /dev/kvm, or built without the compiler"
        continue
    fi
    out=$("$scratch/newer/grown" "husk_$name")
    contains "an unknown option in $name is refused" "$out" "HUSK_E_INVAL: husk_$name has an option set"
    contains "an unknown option in $name: what to know" "$out" "The program was built for a later version"
done
finish
