# tests/debian/fresh_test.sh: the packages in a fresh Debian 12: an older version is installed and used, upgraded, used to build and run
# programs, and purged without a trace.
. "$(dirname "$0")/system.sh"
old=$scratch/old
version=$(sed -nE 's/^#define HUSK_VERSION_[A-Z]+ ([0-9]+)$/\1/p' "$HUSK_SOURCE/include/husk_base.h" | paste -s -d .)
make_packages
mkdir "$scratch/older" # the same as an older version; not optimised, which takes half of the time
tar -C "$HUSK_SOURCE" --exclude=./.git --exclude='./build*' -cf - . | tar -C "$scratch/older" -xf -
sed -i -E 's/^(#define HUSK_VERSION_MINOR) .*/\1 0/; s/^(#define HUSK_VERSION_PATCH) .*/\1 9/' "$scratch/older/include/husk_base.h"
DEB_BUILD_OPTIONS=noopt "$scratch/older/tools/build-packages" "$old" >"$scratch/log" 2>&1 || give_up "build-packages, an older version" "$scratch/log"
start_system
mkdir "$root/old"
cp "$old"/*.deb "$root/old"
rm -f "$root"/old/*-dbgsym_*

# All files, with what they are; but not what belongs to apt, dpkg and the linker themselves.
state() {
    inside find / -xdev \( -path /proc -o -path /dev -o -path /new -o -path /old -o -path /tmp -o -path /root -o -path /var/cache/apt -o -path /var/lib/apt \
        -o -path /var/lib/dpkg -o -path /var/log -o -path /var/cache/man -o -path /var/cache/ldconfig \) -prune -o ! -path /etc/ld.so.cache -printf '%p %y %m %u %g %l\n' | LC_ALL=C sort
    inside dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' | LC_ALL=C sort
}
install() { # NAME FILE…: as a user does who has the files
    local name=$1
    shift
    inside apt-get -q -y --no-install-recommends install "$@" >"$scratch/log" 2>&1 || fail "$name" "$(tail -n 20 "$scratch/log")"
}
state >"$scratch/before"
check "the list of files is one" test "$(wc -l <"$scratch/before")" -gt 5000

# ---- an older version; husk alone ----
mkdir "$root/tmp/work"
printf '\0asm\1\0\0\0' >"$root/tmp/work/module.wasm"
has_program=
if [ -n "$has_kvm" ] && cp "$HUSK_BUILD/examples/program.wasm" "$root/tmp/work/" 2>/dev/null; then
    has_program=1
    "$husk" compile "$root/tmp/work/program.wasm" --cpu x86-64-v2 -o "$root/tmp/work/program.husk"
    words=$("$husk" run "$root/tmp/work/program.husk" hello 2>&1)
fi
install "husk alone" /old/husk_0.0.9-1_amd64.deb
same "husk alone: its version" "$(inside husk version)" "husk 0.0.9"
out=$(inside husk compile /tmp/work/module.wasm -o /tmp/work/module.husk 2>&1)
same "husk alone: it cannot compile" "$?" 125
contains "husk alone says which package is missing" "$out" "the package husk-compiler"
[ -z "$has_program" ] || contains "husk run says so, too" "$(inside husk run /tmp/work/program.wasm 2>&1)" "the package husk-compiler"
contains "husk doctor says so, too" "$(inside husk doctor 2>&1)" "the package husk-compiler"
check "husk alone inspects" inside husk inspect /tmp/work/module.wasm >/dev/null
if [ -n "$has_program" ]; then
    same "husk alone runs images" "$(inside husk run /tmp/work/program.husk hello 2>&1)" "$words"
else
    skip "husk alone runs images" "no usable /dev/kvm, or no compiled example"
fi

# ---- all packages, a program of the old ones ----
mapfile -t old_files < <(cd "$root" && ls old/*.deb | sed 's#^#/#')
install "all, an older version" "${old_files[@]}"
printf '#include <husk.h>\n#include <stdio.h>\nint main(void) { puts(husk_version()); return 0; }\n' >"$root/tmp/work/version.c"
check "a program of the old ones" inside sh -c 'cd /tmp/work && cc version.c $(pkg-config --cflags --libs husk) -o version'
same "a program of the old ones: it runs" "$(inside /tmp/work/version)" "0.0.9"
check "the command compiles" inside husk compile /tmp/work/module.wasm -o /tmp/work/module.husk

# ---- the upgrade, by dpkg, which knows of no order ----
inside sh -c 'dpkg -i /new/*.deb' >"$scratch/log" 2>&1 || fail "upgrade" "$(tail -n 20 "$scratch/log")"
same "upgrade: its version" "$(inside husk version)" "husk $version"
same "upgrade: the program of the old ones gets the new library" "$(inside /tmp/work/version)" "$version"
same "upgrade: nothing of the old ones is left" "$(inside find /usr -name '*husk*0.0.9*')" ""
same "upgrade: all is installed well" "$(inside dpkg -C; inside dpkg --verify | grep -i husk)" ""

# ---- in use ----
hello="hello from a virtual machine: 19 + 23 = 42"
ran() { # NAME PROGRAM
    if [ -n "$has_kvm" ]; then same "$1" "$(inside "$2" 2>&1)" "$hello"; else contains "$1" "$(inside "$2" 2>&1)" /dev/kvm; fi
}
# shellcheck disable=SC2016
check "pkg-config: compile" inside sh -c 'cc /usr/share/doc/husk/examples/hello.c $(pkg-config --cflags --libs husk husk-compile) -o /tmp/work/hello'
ran "pkg-config: run" /tmp/work/hello
cat >"$root/tmp/work/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.22)
project(app C)
find_package(Husk 0.1 REQUIRED)
add_executable(app /usr/share/doc/husk/examples/hello.c)
target_link_libraries(app PRIVATE Husk::compile Husk::husk)
add_executable(app_static /usr/share/doc/husk/examples/hello.c)
target_link_libraries(app_static PRIVATE Husk::compile_static Husk::husk_static)
CMAKE
inside sh -c 'cmake -S /tmp/work -B /tmp/work/cmake && cmake --build /tmp/work/cmake' >"$scratch/log" 2>&1 || fail "CMake" "$(tail -n 20 "$scratch/log")"
ran "CMake: shared" /tmp/work/cmake/app
ran "CMake: static" /tmp/work/cmake/app_static
if [ -n "$has_program" ]; then
    same "husk run" "$(inside husk run --no-background /tmp/work/program.wasm hello 2>&1)" "$words"
else
    skip "husk run" "no usable /dev/kvm, or no compiled example"
fi
for page in husk husk-run "3 husk"; do
    # shellcheck disable=SC2086
    contains "man $page" "$(inside man -P cat $page 2>&1)" "NAME"
done
contains "bash completes" "$(inside bash -c '. /usr/share/bash-completion/completions/husk; COMP_WORDS=(husk sn); COMP_CWORD=1; _husk; echo "${COMPREPLY[@]}"')" snapshot

# ---- and gone ----
inside apt-get -q -y remove husk-compiler >"$scratch/log" 2>&1 || fail "remove husk-compiler" "$(tail -n 20 "$scratch/log")"
same "without the compiler: husk stays, and what is built with it goes" "$(inside dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' '*husk*' | grep 'ii' | tr -d ' \n')" \
    "$(cd "$root/new" && ls | sed -nE 's/_.*//; /^(husk|husk-serve|husk-oci|libhusk0)$/p' | sort | sed 's/$/ii/' | tr -d '\n')"
contains "without the compiler: it is missing" "$(inside husk compile /tmp/work/module.wasm -o /tmp/work/x.husk 2>&1)" "the package husk-compiler"
inside sh -c 'dpkg -i /new/*.deb' >"$scratch/log" 2>&1 || fail "once more" "$(tail -n 20 "$scratch/log")"
if [ -n "$has_kvm" ] && [ -x "$root/usr/bin/husk-oci" ]; then
    mkdir -p "$root/tmp/work/bundle/rootfs"
    cp "$root/tmp/work/module.wasm" "$root/tmp/work/bundle/rootfs/"
    echo '{"process":{"args":["/module.wasm"]},"root":{"path":"rootfs"}}' >"$root/tmp/work/bundle/config.json"
    same "husk-oci prepares a bundle" "$(inside env HUSK_OCI_RUNTIME=/bin/true husk-oci create -b /tmp/work/bundle id 2>&1)" ""
    contains "husk-oci finds the husk for containers" "$(cat "$root/tmp/work/bundle/config.json")" '"source":"/usr/libexec/husk/husk-static"'
    check "husk-oci has a cache, for purge to remove" test -n "$(ls "$root/var/cache/husk-oci")"
fi
mapfile -t names < <(inside dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' '*husk*' | sed -n 's/ ii.*//p')
inside apt-get -q -y remove "${names[@]}" >"$scratch/log" 2>&1 || fail "remove" "$(tail -n 20 "$scratch/log")"
same "remove: no program is left" "$(inside find /usr /etc -name '*husk*' ! -path '*/doc/*' ! -path '/etc/*' 2>/dev/null)" ""
inside dpkg --purge "${names[@]}" >"$scratch/log" 2>&1 || fail "purge" "$(tail -n 20 "$scratch/log")"
state >"$scratch/after"
same_file "purge: nothing is left" "$scratch/after" "$scratch/before"
finish
