# tests/cli/abi_test.sh: the binary interface is the one of include/abi.list, the libraries export what the headers declare, and
# tools/abi-list notices what would break programs that are built already.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
cd "$HUSK_SOURCE" || exit 1
kept=$HUSK_SOURCE/include/abi.list
host=$HUSK_BUILD/host/libhusk.so compile=$HUSK_BUILD/compiler/libhusk_compile.so
if [ "$(uname -m)" != x86_64 ]; then
    skip all "include/abi.list is of x86-64, and this is $(uname -m)"
    finish
fi
for program in "${CC:-cc}" nm readelf awk; do
    command -v "$program" >/dev/null || { skip all "no $program"; finish; }
done

# ---- The list ----

libraries="$host $compile"
expected=$kept
if grep -qs '^HUSK_SANITIZE:STRING=.' "$HUSK_BUILD/CMakeCache.txt"; then
    skip "the libraries" "a sanitizer adds its own functions to them"
    libraries=
fi
for library in $libraries; do
    if ! [ -f "$library" ]; then
        skip "${library##*/}" "it was not built"
        libraries=$(printf '%s\n' $libraries | grep -vxF "$library")
    fi
done
if [ "$(wc -w <<<"$libraries")" != 2 ]; then
    grep -v '^library ' "$kept" >"$scratch/expected.list"
    expected=$scratch/expected.list
fi
# shellcheck disable=SC2086
said=$(tools/abi-list $libraries 2>&1 >"$scratch/now.list")
same "the libraries export what the headers declare" "$said" ""
[ "$expected" = "$kept" ] || sed -i '/^library /d' "$scratch/now.list"
if ! out=$(tools/abi-list --compare "$expected" "$scratch/now.list"); then
    fail "the interface is not as in include/abi.list" "
$out
If that is intended: make, then tools/abi-list build/host/libhusk.so build/compiler/libhusk_compile.so >include/abi.list;
programs that are built already may break only in a new major version of the libraries. CHANGELOG.md tells of either."
else
    check "include/abi.list is in the order in which it is made" cmp "$expected" "$scratch/now.list"
fi
for compiler in gcc clang clang-22 clang-19; do
    command -v $compiler >/dev/null || continue
    check "the headers by $compiler" eval "CC=$compiler tools/abi-list >'$scratch/other.list'"
    check "$compiler sees the same" tools/abi-list --compare "$scratch/now.list" <(cat "$scratch/other.list"; grep '^library ' "$scratch/now.list")
done

# ---- What changed headers say ----

# changed NAME HEADER SED-SCRIPT: $out is the comparison of the list with the one of headers in which one line was changed.
changed() {
    rm -rf "$scratch/include"
    cp -r include "$scratch/include"
    sed -i "$3" "$scratch/include/$2"
    check "$1: the header is changed" test -n "$(diff "include/$2" "$scratch/include/$2")"
    tools/abi-list -I "$scratch/include" >"$scratch/changed.list" || fail "$1" "the changed headers do not compile"
    out=$(tools/abi-list --compare <(grep -v "^library " "$scratch/now.list") "$scratch/changed.list")
    same "$1: it is noticed" "$?" 1
}
breaks() { # NAME HEADER SED-SCRIPT LINE
    changed "$1" "$2" "$3"
    contains "$1: what breaks" "${out%%Old programs*}" "Programs that are built already break:"
    contains "$1: the line" "${out%%Old programs*}" "$4"
}
adds() { # NAME HEADER SED-SCRIPT LINE
    changed "$1" "$2" "$3"
    same "$1: nothing breaks" "$(grep -c break <<<"$out")" 0
    contains "$1: the line" "$out" "$4"
}

breaks "a member in the middle" husk_base.h 's/^    int sys_errno;/    int more;\n&/' "changed  struct husk_error sys_errno at 4, 4 bytes: int
  to       struct husk_error sys_errno at 8, 4 bytes: int"
breaks "a member in the middle of options" husk_sandbox.h 's/^    uint64_t table_max_entries;/    uint64_t more;\n&/' \
    "changed  struct husk_sandbox_options table_max_entries at "
breaks "a member at the end of a final struct" husk_base.h 's/^    char message\[488\];.*/&\n    int more;/' \
    "added    struct husk_error more at 504"
breaks "a member's type" husk_base.h 's/^    int sys_errno;/    unsigned sys_errno;/' "to       struct husk_error sys_errno at 4, 4 bytes: unsigned"
breaks "a shorter array" husk_base.h 's/message\[488\]/message[480]/' "to       struct husk_error message at 16, 480 bytes: char[480]"
breaks "members in another order" husk_base.h '/^    const husk_type \*params;/d; s/^    size_t params_count;/&\n    const husk_type *params;/' \
    "changed  struct husk_functype params at 0"
breaks "a number of a list" husk_base.h 's/HUSK_STATUS(GUEST, 20,/HUSK_STATUS(GUEST, 21,/' "changed  enum husk_status HUSK_E_GUEST -20
  to       enum husk_status HUSK_E_GUEST -21"
breaks "a constant in front" husk_engine.h 's/{ HUSK_LOG_ERROR,/{ HUSK_LOG_FATAL, HUSK_LOG_ERROR,/' "to       enum husk_log_level HUSK_LOG_ERROR 1"
breaks "a constant less" husk_imports.h 's/, HUSK_UNKNOWN_TRAP }/ }/' "removed  enum husk_unknown HUSK_UNKNOWN_TRAP 1"
breaks "a function less" husk_base.h '/^HUSK_API const char \*husk_version(void);/d' "removed  function husk_version libhusk: const char *husk_version(void)"
breaks "an enum less" husk_imports.h 's/enum husk_unknown/enum husk_renamed/' "removed  enum husk_unknown is 4 bytes"
breaks "a parameter more" husk_base.h 's/husk_version(void)/husk_version(int part)/' "to       function husk_version libhusk: const char *husk_version(int part)"
breaks "another result" husk_base.h 's/^HUSK_API const char \*husk_version/HUSK_API int husk_version/' "to       function husk_version libhusk: int husk_version(void)"
breaks "a callback's type" husk_base.h 's/^typedef int (\*husk_write_fn)(void \*user, /&int more, /' "changed  type husk_write_fn: int (*husk_write_fn)(void *user, const"
breaks "a macro's number" husk_stats.h 's/^#define HUSK_HISTOGRAM_BUCKETS 40/#define HUSK_HISTOGRAM_BUCKETS 41/' \
    "changed  macro HUSK_HISTOGRAM_BUCKETS 40"

adds "a function more" husk_base.h 's/^HUSK_API const char \*husk_version/HUSK_API int husk_added(int a);\n&/' "added    function husk_added libhusk: int husk_added(int a)"
adds "a constant at the end" husk_imports.h 's/, HUSK_UNKNOWN_TRAP }/, HUSK_UNKNOWN_TRAP, HUSK_UNKNOWN_MORE }/' "added    enum husk_unknown HUSK_UNKNOWN_MORE 2"
adds "a struct more" husk_base.h '/^struct husk_functype {/i struct husk_more {\n    size_t size;\n};' "added    struct husk_more is 8 bytes"
same "a struct more: one line" "$(grep -c husk_more <<<"$out")" 1
options='/^struct husk_compile_options {/,/^};/'
adds "an option more" husk_compile.h "$options s/^};/    uint64_t later_max;\n&/" "added    struct husk_compile_options later_max at "
bytes=$(sed -n "$options s/^    uint8_t reserved\[\([0-9]*\)\];/\1/p" include/husk_compile.h)
adds "a reserved byte used" husk_compile.h "$options s/^    uint8_t reserved.*/    bool later;\n    uint8_t reserved[$((bytes - 1))];/" \
    "added    struct husk_compile_options later at "

# A declaration that the program does not understand is not passed over.
cp -r include "$scratch/odd"
echo 'enum { HUSK_WITHOUT_A_NAME = 3 };' >>"$scratch/odd/husk_stats.h"
contains "what cannot be read is said" "$(tools/abi-list -I "$scratch/odd" 2>&1)" "cannot read this: enum { HUSK_WITHOUT_A_NAME = 3 }"

# ---- Libraries ----

if [ -f "$host" ] && [ -n "$libraries" ]; then
    rm -rf "$scratch/include"
    cp -r include "$scratch/include"
    sed -i '/^HUSK_API const char \*husk_version(void);/d' "$scratch/include/husk_base.h"
    sed -i 's/^HUSK_API void husk_interrupt/HUSK_API int husk_added(int a);\n&/' "$scratch/include/husk_call.h"
    said=$(tools/abi-list -I "$scratch/include" "$host" 2>&1 >/dev/null)
    same "a library with more and less than the headers: exit status" "$?" 1
    contains "an export that no header declares" "$said" "libhusk.so exports husk_version, which no header declares for it"
    contains "a function that is not exported" "$said" "libhusk.so does not export husk_added, which a header declares"
fi
if [ -f "$compile" ] && [ -n "$libraries" ]; then
    sed -i 's/^HUSK_API bool husk_is_wasm/HUSK_API int husk_more(int a);\n&/' "$scratch/include/husk_compile.h"
    contains "the same of libhusk_compile.so" "$(tools/abi-list -I "$scratch/include" "$compile" 2>&1 >/dev/null)" \
        "libhusk_compile.so does not export husk_more, which a header declares"
fi
same "wrong usage" "$(tools/abi-list nowhere.so 2>/dev/null; echo $?)" 2
finish
