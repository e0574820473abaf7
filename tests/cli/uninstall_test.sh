# tests/cli/uninstall_test.sh: make uninstall removes exactly what make install put there: files, links, folders that were not there before; with
# PREFIX and DESTDIR, after an older version, after an installation that stopped half-way; and nothing else, whatever its list says.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_installable
command -v make >/dev/null || { skip all "no make"; finish; }
unset MAKEFLAGS MAKELEVEL DESTDIR PREFIX
rm -f "$HUSK_BUILD/install_manifest.txt" # of another user, after sudo make install
mkdir "$scratch/bin"
printf '#!/bin/sh\necho ran >>"%s/ldconfig"\n' "$scratch" >"$scratch/bin/ldconfig"
chmod +x "$scratch/bin/ldconfig"
make_it() { # TARGET VARIABLE=…: the build folder is up to date, or these tests would not run
    local target=$1
    shift
    PATH=$scratch/bin:$PATH make -s -C "$HUSK_SOURCE" -o all BUILD="$HUSK_BUILD" "$@" "$target" >"$scratch/make.log" 2>&1
}
# state FOLDER: all that is in it, with modes and targets of links
state() {
    (cd "$1" && find . -printf '%p %y %m %l\n' | LC_ALL=C sort)
}

# ---- a new folder, and above it ----
check "PREFIX: install" make_it install PREFIX="$scratch/new/prefix"
check "PREFIX: it is there" test -x "$scratch/new/prefix/bin/husk"
check "PREFIX: uninstall" make_it uninstall PREFIX="$scratch/new/prefix"
same "PREFIX: nothing is left, nor the folders above it" "$(find "$scratch/new" 2>/dev/null)" ""
check "a second uninstall fails" eval '! make_it uninstall PREFIX="$scratch/new/prefix"'
contains "a second uninstall says why" "$(cat "$scratch/make.log")" "there is no $scratch/new/prefix/share/husk/installed.list"
check "DESTDIR: install" make_it install DESTDIR="$scratch/stage" PREFIX=/opt/husk
rm -f "$scratch/ldconfig"
check "DESTDIR: uninstall" make_it uninstall DESTDIR="$scratch/stage" PREFIX=/opt/husk
same "DESTDIR: nothing is left" "$(find "$scratch/stage" 2>/dev/null)" ""
same "DESTDIR: the linker's cache is left alone" "$(ls "$scratch/ldconfig" 2>/dev/null)" ""

# ---- a folder that is in use: empty folders, others' files beside ours, in ours ----
used=$scratch/a\ used\ prefix
mkdir -p "$used"/{bin,etc,include,lib/pkgconfig,share/man/man1} "$used/share/doc/other"
printf other >"$used/bin/other"
printf other >"$used/lib/pkgconfig/other.pc"
ln -s nowhere "$used/share/man/man1/husk-other.1"
chmod 775 "$used/lib"
before=$(state "$used")
check "in use: install" make_it install PREFIX="$used/"
check "in use: install again" make_it install PREFIX="$used"
check "in use: uninstall" make_it uninstall PREFIX="$scratch/bin/../a used prefix//"
same "in use: all is as before" "$(state "$used")" "$before"
make_it install PREFIX="$used"
printf mine >"$used/share/doc/husk/mine"
check "a file among ours: uninstall" make_it uninstall PREFIX="$used"
same "a file among ours stays" "$(find "$used/share/doc/husk" "$used/libexec" 2>/dev/null)" "$used/share/doc/husk
$used/share/doc/husk/mine"
contains "a file among ours is named" "$(cat "$scratch/make.log")" "left, for there is more in it: $used/share/doc/husk"
rm -r "$used/share/doc/husk"
same "and nothing else is there" "$(state "$used")" "$before"

# ---- an older version, with other files ----
make_it install PREFIX="$used"
touch "$used/lib/libhusk.so.0.0.1"
echo "f lib/libhusk.so.0.0.1" >>"$used/share/husk/installed.list"
check "an older version: install" make_it install PREFIX="$used"
check "an older version: uninstall" make_it uninstall PREFIX="$used"
same "an older version: its files are removed, too" "$(state "$used")" "$before"

# ---- what is in the way: a folder where a file belongs, and a file where a folder belongs, which is noticed half-way ----
mkdir -p "$used/include/husk.h/in-the-way"
obstructed=$(state "$used")
check "a folder in the way: install fails" eval '! make_it install PREFIX="$used"'
contains "a folder in the way is named" "$(cat "$scratch/make.log")" "$used/include/husk.h is a folder"
same "a folder in the way: nothing was done" "$(state "$used")" "$obstructed"
make_it uninstall PREFIX="$used"
rm -r "$used/include/husk.h"
printf other >"$used/lib/cmake"
obstructed=$(state "$used")
check "half-way: install fails" eval '! make_it install PREFIX="$used"'
check "half-way: something was installed" test -e "$used/include/husk.h"
check "half-way: uninstall" make_it uninstall PREFIX="$used"
same "half-way: nothing is left" "$(state "$used")" "$obstructed"
rm "$used/lib/cmake"
make_it install PREFIX="$used"
rm "$used/bin/husk"
mkdir "$used/bin/husk"
check "a file became a folder: uninstall fails" eval '! make_it uninstall PREFIX="$used"'
contains "a file became a folder: it is named" "$(cat "$scratch/make.log")" "$used/bin/husk"
rmdir "$used/bin/husk"
check "a file became a folder: uninstall afterwards" make_it uninstall PREFIX="$used"
same "a file became a folder: nothing is left" "$(state "$used")" "$before"

# ---- a full disk ----
mkdir "$scratch/small"
if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
    export -f make_it
    export scratch HUSK_SOURCE HUSK_BUILD
    for size in 4k 64k 2m; do # full when the list is written, or with some of the files
        same "a full disk, $size: all is removed" "$(unshare --mount --propagation private bash -c '
            mount -t tmpfs -o size="$1" tmpfs "$scratch/small"
            make_it install PREFIX="$scratch/small/prefix" && echo "it fits"
            grep -qi "no space left\|cannot copy\|error" "$scratch/make.log" || echo "it does not say why"
            make_it uninstall PREFIX="$scratch/small/prefix" || echo "nothing to uninstall"
            find "$scratch/small/prefix" ! -type d 2>/dev/null' bash "$size" | grep -vx "nothing to uninstall")" ""
    done
else
    skip "a full disk" "only root can make one"
fi

# ---- a list of somebody else's making ----
mkdir -p "$scratch/victim/empty" "$used/share/husk"
touch "$scratch/victim/file"
printf '%s\n' "f ../victim/file" "f share/../../victim/file" "f /../victim/file" "f " "f" "d share/../../victim/empty" "x bin/other" "" >"$used/share/husk/installed.list"
check "a forged list: uninstall" make_it uninstall PREFIX="$used"
same "a forged list: nothing outside of PREFIX is touched" "$(find "$scratch/victim" | LC_ALL=C sort)" "$scratch/victim
$scratch/victim/empty
$scratch/victim/file"
check "a forged list: other lines mean nothing" test -e "$used/bin/other"

same "no stage is left in the build folder" "$(find "$HUSK_BUILD" -maxdepth 1 -name 'install-stage.*')" ""
if [ "$(id -u)" = 0 ]; then
    same "as root: the linker's cache is refreshed" "$(sort -u "$scratch/ldconfig" 2>&1)" "ran"
fi
finish
