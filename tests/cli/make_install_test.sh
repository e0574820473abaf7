# tests/cli/make_install_test.sh: make install with PREFIX and DESTDIR: every file lands below them and nowhere else, pkg-config gives what
# it takes to link, statically too, also after the whole was moved.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_installable
for program in make pkg-config; do
    command -v $program >/dev/null || { skip all "no $program"; finish; }
done
export HUSK_CACHE_DIR=$scratch/cache
unset MAKEFLAGS MAKELEVEL DESTDIR PREFIX
rm -f "$HUSK_BUILD/install_manifest.txt" # of another user, after sudo make install
mkdir "$scratch/bin"
printf '#!/bin/sh\necho ran >>"%s/ldconfig"\n' "$scratch" >"$scratch/bin/ldconfig"
chmod +x "$scratch/bin/ldconfig"
# The build folder is up to date, or these tests would not run: all is not made again while others read it.
make_install() {
    PATH=$scratch/bin:$PATH make -s -C "$HUSK_SOURCE" -o all BUILD="$HUSK_BUILD" "$@" install >"$scratch/install.log" 2>&1
}
# files FOLDER: what is in it, by the names that do not depend on the system.
files() {
    (cd "$1" && find . ! -type d | sed -E 's#^\./##; s#^lib/[^/]+-linux-gnu/#lib/#; s#^lib64/#lib/#; s#\.so\.[0-9.]+$#.so.N#' | LC_ALL=C sort -u)
}
expected="bin/husk
$(cd "$HUSK_SOURCE/include" && LC_ALL=C ls -- *.h | sed 's#^#include/#')
lib/cmake/Husk/HuskConfig.cmake
lib/cmake/Husk/HuskConfigVersion.cmake
lib/libhusk.a
lib/libhusk.so
lib/libhusk.so.N
lib/libhusk_compile.a
lib/libhusk_compile.so
lib/libhusk_compile.so.N
lib/pkgconfig/husk-compile.pc
lib/pkgconfig/husk.pc
libexec/husk/husk-compile-worker
$(cd "$HUSK_SOURCE" && LC_ALL=C ls -- *.md LICENSE NOTICE docs/*.md docs/*.svg $(find deploy -type f 2>/dev/null) examples/*.[ch] examples/*.sh examples/Makefile examples/go/* examples/guests/* examples/python/*.py examples/rust/* |
    LC_ALL=C sort | sed 's#^#share/doc/husk/#')
$(cd "$HUSK_SOURCE/docs/man" && LC_ALL=C ls -- *.1 | sed 's#^#share/man/man1/#')
share/man/man3/husk.3
$(cd "$HUSK_SOURCE/docs/man" && ls -- *.8 2>/dev/null | sed 's#^#share/man/man8/#')
$([ ! -x "$HUSK_BUILD/husk-serve" ] || printf '%s\n' bin/husk-serve lib/systemd/system/husk-serve@.service lib/systemd/system/husk-serve@.socket)
$([ ! -x "$HUSK_BUILD/husk-oci" ] || echo bin/husk-oci)
$([ ! -x "$HUSK_BUILD/husk-static" ] || echo libexec/husk/husk-static)
share/husk/installed.list
$(cd "$HUSK_SOURCE/packaging/completion" && for table in *.list; do
    name=${table%.list}
    printf 'share/%s\n' "bash-completion/completions/$name" "zsh/site-functions/_$name" "fish/vendor_completions.d/$name.fish"
done)"
expected=$(grep . <<<"$expected" | LC_ALL=C sort)

prefix=$scratch/prefix
check "PREFIX" make_install PREFIX="$prefix"
same "PREFIX: the files" "$(files "$prefix")" "$expected"
if [ "$(id -u)" = 0 ]; then
    same "PREFIX, as root: the linker's cache is refreshed" "$(cat "$scratch/ldconfig" 2>&1)" "ran"
else
    same "PREFIX, not as root: the linker's cache is left alone" "$(ls "$scratch/ldconfig" 2>/dev/null)" ""
fi
rm -f "$scratch/ldconfig"
check "DESTDIR" make_install DESTDIR="$scratch/stage" PREFIX=/opt/husk
same "DESTDIR: the files" "$(files "$scratch/stage/opt/husk")" "$expected"
same "DESTDIR: nothing beside them" "$(ls "$scratch/stage" "$scratch/stage/opt")" "$scratch/stage:
opt

$scratch/stage/opt:
husk"
same "DESTDIR: the linker's cache is left alone" "$(ls "$scratch/ldconfig" 2>/dev/null)" ""
check "a space in PREFIX" make_install PREFIX="$scratch/a prefix"
same "a space in PREFIX: the files" "$(files "$scratch/a prefix")" "$expected"
same "no path of the build is in what is installed" "$(grep -rlF -e "$HUSK_BUILD" -e "$HUSK_SOURCE/" "$prefix/lib" "$prefix/include" "$prefix/share" --include='*.pc' --include='*.cmake' --include='*.h')" ""
for mask in 077 000; do
    (umask $mask && make_install PREFIX="$scratch/umask-$mask")
    same "umask $mask: all can read" "$(find "$scratch/umask-$mask"/* ! -type l ! -perm -444)" ""
    same "umask $mask: all can enter" "$(find "$scratch/umask-$mask"/* -type d ! -perm -555)" ""
    same "umask $mask: only the owner can write" "$(find "$scratch/umask-$mask"/* ! -type l -perm /022)" ""
done

# ---- pkg-config: shared, static, moved ----
mv "$prefix" "$scratch/moved"
lib=$(dirname "$(find "$scratch/moved" -name libhusk.so)")
export PKG_CONFIG_PATH=$lib/pkgconfig
same "pkg-config: versions" "$(pkg-config --modversion husk husk-compile | sort -u)" "$("$husk" version | sed 's/husk //')"
check "pkg-config: valid" pkg-config --validate husk husk-compile
cd "$scratch" || exit 1
cp "$HUSK_SOURCE/examples/hello.c" .
check "pkg-config, moved: compile" eval "cc hello.c $(pkg-config --cflags --libs husk husk-compile) -o shared"
same "pkg-config, moved: the libraries are found" "$(LD_LIBRARY_PATH=$lib ldd shared | grep -cE ' => .*/moved/lib.*/libhusk')" 2
same "pkg-config: a program that only runs images needs no compiler" "$(pkg-config --libs husk | grep -c husk_compile)" 0
printf '#include <husk.h>\n#include <stdio.h>\nint main(void) { puts(husk_version()); return 0; }\n' >version.c
if cc -static -x c - -o static-works <<<'int main(void) { return 0; }' 2>/dev/null; then
    check "pkg-config --static: compile" eval "cc -static hello.c $(pkg-config --static --cflags --libs husk husk-compile) -o static" 2>static.log
    [ -x static ] || cat static.log
    check "pkg-config --static: only libhusk" eval "cc -static version.c $(pkg-config --static --cflags --libs husk) -o version"
    same "pkg-config --static: it runs" "$(./version)" "$("$husk" version | sed 's/husk //')"
    same "pkg-config --static: it needs no library" "$(ldd static 2>&1 | grep -c husk)" 0
else
    skip "pkg-config --static" "no static C library to link with"
fi
finish
