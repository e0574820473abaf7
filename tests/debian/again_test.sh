# tests/debian/again_test.sh: the packages are the same, byte for byte, when they are built of the same sources in another place, by another
# packager's settings and from a fresh build folder.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
command -v dh >/dev/null || { skip all "no dh (tools/install-deps build packages)"; finish; }
unset MAKEFLAGS MAKELEVEL DESTDIR
export SOURCE_DATE_EPOCH=1700000000
build_in() { # TREE OUTPUT
    "$1/tools/build-packages" "$2" >"$scratch/log" 2>&1 || { fail "build-packages" "$(tail -n 30 "$scratch/log")"; finish; }
}
build_in "$HUSK_SOURCE" "$scratch/here"
copy="$scratch/another place/with a longer name"
mkdir -p "$copy"
tar -C "$HUSK_SOURCE" --exclude=./.git --exclude='./build*' -cf - . | tar -C "$copy" -xf -
touch -d 2001-01-01 "$copy"/docs/*.md "$copy/README.md" "$copy"/include/*.h
umask 077
LC_ALL=C.UTF-8 LANG=C.UTF-8 TZ=Pacific/Auckland HOME="$scratch/no home" CFLAGS=-Os MAKEFLAGS=-j1 build_in "$copy" "$scratch/there"
same "the same packages" "$(ls "$scratch/there" | grep '\.deb$')" "$(ls "$scratch/here" | grep '\.deb$')"
check "there are packages" test "$(find "$scratch/here" -name '*.deb' | wc -l)" -ge 7
for package in "$scratch"/here/*.deb; do
    check "${package##*/}: byte for byte" cmp "$package" "$scratch/there/${package##*/}"
done
SOURCE_DATE_EPOCH=1600000000 build_in "$HUSK_SOURCE" "$scratch/here"
check "another time gives other files" eval '! cmp -s "$scratch"/here/husk_*.deb "$scratch"/there/husk_*.deb'
finish
