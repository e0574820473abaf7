# tests/cli/install_test.sh: what `make install` makes is complete: programs build against it with pkg-config and with CMake, shared
# and static, the examples too, and the installed command finds its worker.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
export HUSK_CACHE_DIR=$scratch/cache
prefix=$scratch/prefix
need_installable
rm -f "$HUSK_BUILD/install_manifest.txt" # of another user, after sudo make install
check "install" cmake --install "$HUSK_BUILD" --prefix "$prefix" >"$scratch/install.log"
lib=$(dirname "$(find "$prefix" -name 'libhusk.so')")
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
cd "$scratch" || exit 1

# Without KVM the program must say so; it has found its libraries and its worker even then.
ran() { # NAME PROGRAM
    local out code
    out=$("$2" 2>&1)
    code=$?
    if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
        same "$1" "$code $out" "0 hello from a virtual machine: 19 + 23 = 42"
    else
        contains "$1" "$out" "/dev/kvm"
    fi
}

for file in bin/husk libexec/husk/husk-compile-worker include/husk.h include/husk_compile.h share/man/man1/husk.1 share/man/man1/husk-run.1 \
    share/man/man3/husk.3 share/doc/husk/README.md share/doc/husk/docs/trust.md share/doc/husk/examples/guests/plugin.c; do
    check "installed: $file" test -f "$prefix/$file"
done
if [ -x "$HUSK_BUILD/husk-serve" ]; then
    contains "installed: husk serve" "$("$prefix/bin/husk" serve --help 2>&1)" "usage: husk serve"
fi
same "the headers are all" "$(ls "$prefix/include")" "$(cd "$HUSK_SOURCE/include" && ls -- *.h)"
same "shared libraries export the interface alone" \
    "$(nm -D --defined-only "$lib/libhusk.so" "$lib/libhusk_compile.so" | awk 'NF == 3 {print $3}' | grep -v '^husk_')" ""
same "static libraries, too" "$(nm -g --defined-only "$lib/libhusk.a" "$lib/libhusk_compile.a" | awk 'NF == 3 {print $3}' | grep -v '^husk_')" ""

# shellcheck disable=SC2046
check "pkg-config: compile" eval "cc \"\$HUSK_SOURCE/examples/hello.c\" $(pkg-config --cflags --libs husk husk-compile) -o shared"
ran "pkg-config: run" ./shared
check "static: compile" cc "$HUSK_SOURCE/examples/hello.c" -I"$prefix/include" "$lib/libhusk_compile.a" "$lib/libhusk.a" \
    -pthread -ldl -o static
mkdir -p "$prefix/bin" && cp static "$prefix/bin/static" # the worker is found relative to the program
LD_LIBRARY_PATH= ran "static: run" "$prefix/bin/static"
printf '#include <husk.h>\n#include <husk_compile.h>\nint main() { return husk_version()[0] == 0; }\n' >both.cpp
check "headers in C++" c++ -Wall -Wextra -Werror -pedantic both.cpp -I"$prefix/include" -L"$lib" -lhusk -o both
for std in c99 c11; do
    printf '#include <husk_compile.h>\nint main(void) { return 0; }\n' >header.c
    check "headers in $std" cc -std=$std -Wall -Wextra -Werror -pedantic -fsyntax-only header.c -I"$prefix/include"
done

# The examples as they are installed, in a copy: the folder itself is not for writing.
cp -r "$prefix/share/doc/husk/examples" examples
check "installed hello.c: compile" eval "cc examples/hello.c $(pkg-config --cflags --libs husk husk-compile) -o installed-hello"
ran "installed hello.c: run" ./installed-hello
check "installed examples: make" make -s -C examples CFLAGS="-Wall -Wextra -Werror" >examples.log 2>&1
[ -x examples/pool ] || cat examples.log
for source in $(grep -l '^int main' examples/*.c); do
    check "installed examples: $source" test -x "${source%.c}"
done
ran "installed examples: hello" examples/hello
if [ -f "$HUSK_BUILD/examples/plugin.wasm" ]; then
    check "installed examples: make guests" make -s -C examples guests >guests.log 2>&1
    [ -f examples/program.wasm ] || cat guests.log
    for source in "$HUSK_BUILD"/examples/*.wasm; do
        [ "${source##*/}" = try.wasm ] || # only CMake's question whether clang can link
            check "installed examples: ${source##*/}" test -s "examples/${source##*/}"
    done
    if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
        contains "installed examples: plugin_host" "$(examples/plugin_host examples/plugin.wasm "some text")" "shout    SOME TEXT!"
        contains "installed examples: host_function" "$(examples/host_function examples/host_function.wasm)" "3 apples and 4 pears: 4.50"
    fi
else
    skip "the examples' guests" "no clang with wasi-libc to compile them"
fi
while IFS=: read -r file link; do
    check "installed $file: there is $link" test -e "$prefix/share/doc/husk/$(dirname "$file")/${link%%#*}"
done < <(cd "$prefix/share/doc/husk" && grep -H -o -E '\]\([^)#:]+[^):]*\)' -- *.md docs/*.md | sed -E 's/^([^:]*):\]\((.*)\)$/\1:\2/')

mkdir app
cp "$HUSK_SOURCE/examples/hello.c" app
cat >app/CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.22)
project(app C)
find_package(Husk 0.1 REQUIRED)
add_executable(app_shared hello.c)
target_link_libraries(app_shared PRIVATE Husk::compile Husk::husk)
add_executable(app_static hello.c)
target_link_libraries(app_static PRIVATE Husk::compile_static Husk::husk_static)
CMAKE
check "CMake: configure" cmake -G Ninja -S app -B app-build -DCMAKE_PREFIX_PATH="$prefix" >cmake.log 2>&1
check "CMake: build" cmake --build app-build >build.log 2>&1
[ -x app-build/app_static ] || cat cmake.log build.log
ran "CMake: shared" app-build/app_shared

LD_LIBRARY_PATH=
printf '\0asm\1\0\0\0' >module.wasm # the smallest module
check "the installed command" "$prefix/bin/husk" compile module.wasm -o image.husk
check "the installed command reads it" "$prefix/bin/husk" inspect image.husk >/dev/null
for page in "$prefix"/share/man/man[13]/*; do
    if command -v groff >/dev/null; then
        same "man page ${page##*/}" "$(groff -mandoc -Tutf8 -ww "$page" 2>&1 >/dev/null)" ""
    fi
done

rm -rf "$scratch/destdir"
check "DESTDIR" env DESTDIR="$scratch/destdir" cmake --install "$HUSK_BUILD" >destdir.log
check "DESTDIR keeps the prefix" test -n "$(find "$scratch/destdir" -path '*/bin/husk')"
finish
