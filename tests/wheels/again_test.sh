# tests/wheels/again_test.sh: a wheel is the same, byte for byte, when it is built of the same sources in another place, with other settings
# and from a fresh build folder. Where it is not, the files that differ are named. `make wheel` brings what it takes.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
. "$HUSK_SOURCE/tests/packages/again.sh"
[ -e "$HUSK_BUILD/python/venv/bin/auditwheel" ] || { skip all "no auditwheel (tools/install-deps python)"; finish; }
unset MAKEFLAGS MAKELEVEL DESTDIR CCACHE_BASEDIR CCACHE_NOHASHDIR
HUSK_BUILD=$(cd "$HUSK_BUILD" && pwd)
# One Python is enough: the libraries and the compiler are the same in all wheels.
export HUSK_BUILD SOURCE_DATE_EPOCH=1700000000 WHEEL_PYTHONS="${WHEEL_PYTHONS:-$HUSK_BUILD/python/venv/bin/python}"
WHEEL_PYTHONS=${WHEEL_PYTHONS%% *}
builder=build-wheels
build_in "$HUSK_SOURCE" "$scratch/here"
copy="$scratch/another place/with a longer name"
copy_tree "$copy"
umask 077
LC_ALL=C.UTF-8 LANG=C.UTF-8 TZ=Pacific/Auckland build_in "$copy" "$scratch/there"
name=$(cd "$scratch/here" && ls -- *.whl)
same "the same wheel" "$(cd "$scratch/there" && ls -- *.whl)" "$name"
same_archive "$name" "$scratch/here/$name" "$scratch/there/$name"
finish
