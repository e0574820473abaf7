# tests/packages/again_test.sh: the packages are the same, byte for byte, when they are built of the same sources in another place, by another
# packager's settings and from a fresh build folder. Where they are not, the files that differ are named.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
. "$HUSK_SOURCE/tests/packages/again.sh"
command -v dh >/dev/null || { skip all "no dh (tools/install-deps build packages)"; finish; }
unset MAKEFLAGS MAKELEVEL DESTDIR
export SOURCE_DATE_EPOCH=1700000000
builder=build-packages
build_in "$HUSK_SOURCE" "$scratch/here"
copy="$scratch/another place/with a longer name"
copy_tree "$copy"
umask 077
LC_ALL=C.UTF-8 LANG=C.UTF-8 TZ=Pacific/Auckland HOME="$scratch/no home" CFLAGS=-Os MAKEFLAGS=-j1 build_in "$copy" "$scratch/there"
same "the same packages" "$(ls "$scratch/there" | grep '\.deb$')" "$(ls "$scratch/here" | grep '\.deb$')"
check "there are packages" test "$(find "$scratch/here" -name '*.deb' | wc -l)" -ge 7
for package in "$scratch"/here/*.deb; do
    same_archive "${package##*/}" "$package" "$scratch/there/${package##*/}"
done

# That another time is seen shows that the comparison can fail; and the files are the same then.
mkdir "$scratch/then"
cp "$scratch"/here/husk_*.deb "$scratch/then/husk.deb"
SOURCE_DATE_EPOCH=1600000000 build_in "$HUSK_SOURCE" "$scratch/here"
check "another time gives other files" eval '! cmp -s "$scratch"/here/husk_*.deb "$scratch/then/husk.deb"'
contains "what differs is named" "$(differences "$scratch"/here/husk_*.deb "$scratch/then/husk.deb")" changelog.Debian.gz
finish
