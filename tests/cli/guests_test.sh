# tests/cli/guests_test.sh: the commands that the documents give for building guests, as they stand there, on a machine where another
# wasm-opt is in PATH: they work, print no warning, and the modules keep the names and lines that backtraces show.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
export HUSK_CACHE_DIR=$scratch/cache
need_kvm
clang=$("$HUSK_SOURCE/tools/find-llvm-tool" clang 2>/dev/null)
if [ -z "$clang" ] || ! [ -f "$HUSK_BUILD/examples/program.wasm" ]; then
    skip all "no clang with wasi-libc to compile guests"
    finish
fi
number=${clang#clang-}

# A wasm-opt that leaves nothing of the module, and says that it ran.
mkdir -p "$scratch/bin" "$scratch/work/build"
ln -s "$husk" "$scratch/bin/husk"
ln -s "$husk" "$scratch/work/build/husk"
cat >"$scratch/bin/wasm-opt" <<'SH'
#!/bin/sh
echo "$*" >>"$WASM_OPT_RAN"
while [ $# -gt 1 ]; do
    [ "$1" != -o ] || : >"$2"
    shift
done
SH
chmod +x "$scratch/bin/wasm-opt"
export WASM_OPT_RAN=$scratch/wasm-opt-ran PATH=$scratch/bin:$PATH
cd "$scratch/work" || exit 1

# block FILE HEADING [N]: the n-th block of commands below a heading, without those that install packages.
block() {
    awk -v heading="$2" -v want="${3:-1}" '$0 == heading { inside = 1; next } /^## / { inside = 0 }
        inside && /^```sh$/ { count++; copying = count == want; next } /^```$/ { copying = 0 }
        inside && copying && !/^apt-get /' "$HUSK_SOURCE/$1"
}
# comment FILE: the commands in the comment at the head of a guest.
comment() {
    sed -n '/^ \*\//q; s/^ \*   //p' "$HUSK_SOURCE/examples/guests/$1" | grep -E '^(clang|husk| +-)'
}
# follow NAME: runs the commands on standard input as they stand there, with the clang of this machine; $out is what they print.
follow() {
    local name=$1 code
    sed -E "s/\bclang(\+\+)?(-22)? /clang\1-$number /g" >"$scratch/commands"
    check "$name: there are commands" grep -q clang "$scratch/commands"
    rm -f "$WASM_OPT_RAN"
    out=$(sh "$scratch/commands" 2>"$scratch/err" </dev/null)
    code=$?
    same "$name: exit code" $code 0
    same "$name: no warning" "$(cat "$scratch/err")" ""
    same "$name: no wasm-opt ran" "$(cat "$WASM_OPT_RAN" 2>/dev/null)" ""
}
# keeps NAME PATTERN ARGUMENTS…: the backtrace of what husk run ARGUMENTS runs into has this line.
keeps() {
    local name=$1 pattern=$2
    shift 2
    "$husk" run "$@" >"$scratch/trace" 2>&1
    same "$name: traps" $? 134
    check "$name: the backtrace has /$pattern/: $(cat "$scratch/trace")" grep -qE "$pattern" "$scratch/trace"
}

cat >program.c <<'C'
#include <stdio.h>
__attribute__((noinline)) static int read_far_away(volatile int *at) {
    return *at;
}
int main(int argc, char **argv) {
    (void)argv;
    printf("hello\n");
    return argc > 1 ? read_far_away((int *)0xfffffff0) : 0;
}
C
cp program.c hello.c
cat >add.c <<'C'
__attribute__((export_name("add"))) int add(int a, int b) { return a + b; }
__attribute__((export_name("divide"))) int divide(int a, int b) { return a / b; }
C
cp "$HUSK_SOURCE"/examples/guests/words.cpp .

# The fake is one: clang runs it if it is not told otherwise.
"$clang" --target=wasm32 -O2 -nostdlib -Wl,--no-entry add.c -o fake.wasm 2>/dev/null
check "clang finds the wasm-opt in PATH" test -s "$WASM_OPT_RAN"
rm -f "$WASM_OPT_RAN"
check "tools/no-wasm-opt" "$clang" "$("$HUSK_SOURCE/tools/no-wasm-opt")" --target=wasm32 -O2 -nostdlib -Wl,--no-entry add.c -o add.wasm
check "tools/no-wasm-opt: a module" test -s add.wasm
same "tools/no-wasm-opt: none ran" "$(cat "$WASM_OPT_RAN" 2>/dev/null)" ""

follow "README" < <(block README.md "## A first program")
same "README: the program" "$out" 1:i32
check "README: lines are kept" grep -qa debug_line next.wasm
check "README: the image" test -s next.husk

follow "guests.md, C" < <(block docs/guests.md "## C")
same "guests.md, C: the program" "$out" "hello"
keeps "guests.md, C" 'read_far_away at 0x[0-9a-f]+ \(.*program.c:3' program.wasm x
cp "$HUSK_SOURCE/examples/guests/strings.c" .
rm -f program.wasm
follow "guests.md, strings" < <(block docs/guests.md "## C" 2)
same "guests.md, strings: the program" "$("$husk" run program.wasm)" "hello"
for i in 3 4; do
    rm -f add.wasm
    follow "guests.md, functions, block $i" < <(block docs/guests.md "## C" $i)
    same "guests.md, functions, block $i: the sum" "$out" 42:i32
    keeps "guests.md, functions, block $i" 'divide at 0x[0-9a-f]+ \(.*add.c:2' add.wasm --invoke divide 1 0
done
awk '/^## / { inside = $0 == "## 64-bit memories" } inside && /^```c$/ { copying = 1; next } /^```$/ { copying = 0 } copying' \
    "$HUSK_SOURCE/docs/guests.md" >far.c
follow "guests.md, 64-bit memories" < <(block docs/guests.md "## 64-bit memories")
same "guests.md, 64-bit memories: the number at 5 GiB" "$out" 55:i64
rm -f hello.wasm
follow "husk(1)" < <(sed -n 's/^\$ //p' "$HUSK_SOURCE/docs/man/husk.1")
same "husk(1): the program" "$out" "hello"
keeps "husk(1)" 'read_far_away at 0x[0-9a-f]+ \(.*hello.c:3' hello.wasm x

if [ "$number" -ge 22 ]; then
    mkdir examples
    ln -s "$HUSK_SOURCE/examples/guests" examples/guests
    cat >jumps.c <<'C'
#include <setjmp.h>
#include <stdio.h>
static jmp_buf place;
int main(void) {
    int value = setjmp(place);
    if (value == 0)
        longjmp(place, 42);
    printf("%d\n", value);
    return 0;
}
C
    follow "guests.md, setjmp" < <(block docs/guests.md "## Exceptions")
    same "guests.md, setjmp: the program" "$out" 42
else
    skip "guests.md, setjmp" "clang 22 has these options, and this is clang $number"
fi

mkdir guests
cp "$HUSK_SOURCE"/examples/guests/*.c guests
cd guests || exit 1
for guest in program plugin host_function; do
    follow "examples/guests/$guest.c" < <(comment $guest.c)
    check "examples/guests/$guest.c: names are kept" grep -qa "debug_line" $guest.wasm
done
keeps "examples/guests/program.c" 'wild_read at 0x[0-9a-f]+ \(.*program.c:' program.wasm fail read
cd .. || exit 1

if echo '#include <map>' | "clang++-$number" --target=wasm32-wasi --sysroot=/usr -Wno-deprecated -Werror -x c++ -fsyntax-only - 2>/dev/null; then
    follow "guests.md, C++" < <(block docs/guests.md "## C++")
    same "guests.md, C++: the program" "$(echo a b a | husk run -O0 words.wasm | head -n 1)" "1 lines, 3 words, 6 bytes"
    check "guests.md, C++: lines are kept" grep -qa debug_line words.wasm
else
    skip "guests.md, C++" "no libc++ of this clang's version for wasm32-wasi (Debian: libc++-$number-dev-wasm32)"
fi
finish
