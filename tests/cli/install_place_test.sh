# tests/cli/install_place_test.sh: programs find the compiler of the installation that they were linked with, wherever they lie; a compiler
# that somebody else could have put there is not started.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
export HUSK_CACHE_DIR=$scratch/cache
prefix=$scratch/prefix
if ! [ -f "$HUSK_BUILD/install/libhusk_compile.a" ] || ! [ -x "$HUSK_BUILD/husk-compile-worker" ]; then
    skip all "the build folder has no compiler to install"
    finish
fi
if grep -qs '^HUSK_SANITIZE:STRING=.' "$HUSK_BUILD/CMakeCache.txt"; then
    skip all "a sanitizer build is not for installing"
    finish
fi
umask 022
check "install" cmake --install "$HUSK_BUILD" --prefix "$prefix" >"$scratch/install.log"
lib=$(dirname "$(find "$prefix" -name 'libhusk.so')")
worker=$prefix/libexec/husk/husk-compile-worker
cd "$scratch" || exit 1
mkdir app
cat >compile.c <<'C'
#include <stdio.h>
#include "husk_compile.h"
int main(void) {
    static const unsigned char wasm[] = {0, 'a', 's', 'm', 1, 0, 0, 0};
    struct husk_error err = {.message = "compiled"};
    int fd = -1;
    husk_compile(wasm, sizeof wasm, NULL, &fd, &err);
    puts(err.message);
    return fd < 0;
}
C
build() { # OUTPUT: linked with the installed static library
    cc compile.c -I"$prefix/include" "$lib/libhusk_compile.a" -ldl -o "$1"
}

# The folder of the build would be found, too: a worker that nobody started proves nothing. So this one says who it is.
mv "$worker" "$worker.real"
printf '#!/bin/sh\necho "installed worker" >&2; exit 3\n' >"$worker"
chmod 755 "$worker"
check "static: compile" build app/static
contains "a static embedder starts the installed compiler" "$(app/static)" "installed worker"
printf '\0asm\1\0\0\0' >module.wasm
contains "so does the installed command" "$("$prefix/bin/husk" compile module.wasm -o module.husk 2>&1)" "installed worker"
cc compile.c -I"$prefix/include" -L"$lib" -lhusk_compile -o app/shared
contains "so does the installed shared library" "$(LD_LIBRARY_PATH=$lib app/shared)" "installed worker"

# Another worker beside the program does not come first.
printf '#!/bin/sh\ntouch "%s"; echo "planted worker" >&2; exit 3\n' "$scratch/planted-ran" >app/husk-compile-worker
chmod 755 app/husk-compile-worker
contains "the installed one first" "$(app/static)" "installed worker"

# Without the installed one, what lies near the program is looked at; but not if others can write it or its folder.
mv "$prefix/libexec" "$prefix/libexec.away"
contains "beside the program, last" "$(app/static)" "planted worker"
rm -f planted-ran
chmod 777 app
contains "not in a folder that everybody may write" "$(app/static)" "everybody may write it"
chmod 1777 app
contains "nor in one like /tmp" "$(app/static)" "everybody may write it"
chmod 755 app
chmod 757 app/husk-compile-worker
contains "nor a file that everybody may write" "$(app/static)" "everybody may write it"
chmod 755 app/husk-compile-worker
if [ "$(id -u)" = 0 ]; then
    chown 12345 app/husk-compile-worker
    contains "nor somebody else's file" "$(app/static)" "belongs to another user"
    chown 0 app/husk-compile-worker
    chown 12345 app
    contains "nor one in somebody else's folder" "$(app/static)" "belongs to another user"
    chown 0 app
else
    skip "somebody else's file" "only root can give files away"
fi
check "none of these was started" test ! -e planted-ran
rm app/husk-compile-worker
contains "without any it says where it looked" "$(app/static)" "$prefix/libexec/husk"

# An installation that was moved still works: its parts find each other.
mv "$prefix/libexec.away" "$prefix/libexec"
mv "$worker.real" "$worker"
mv "$prefix" "$scratch/moved"
check "the moved command compiles" "$scratch/moved/bin/husk" compile module.wasm -o module.husk

check "DESTDIR" env DESTDIR="$scratch/destdir" cmake --install "$HUSK_BUILD" --prefix /opt/husk-test >destdir.log
contains "with DESTDIR the prefix is what counts" \
    "$(LC_ALL=C grep -a -o 'husk-compile-worker is in:[^[:cntrl:]]*' "$scratch"/destdir/opt/husk-test/lib*/libhusk_compile.a)" \
    "is in:/opt/husk-test/libexec/husk"
finish
