# tests/debian/system.sh: a fresh Debian 12 for the suites that install packages, sourced by them in the place of tests/harness.sh. Needs root,
# debootstrap, and the network the first time: the new system is kept in $HUSK_BUILD/debian/, with what the packages depend on.
# All happens in a mount namespace of its own, which ends with the suite.
#
#   make_packages     the packages of this tree are in $new
#   start_system      the system is in $root, with the packages in /new; `inside COMMAND…` runs there
#   begin_system KIND NAME…  a system with the packages NAME… alone
if [ "$(id -u)" = 0 ] && [ -z "${HUSK_FRESH_NAMESPACE:-}" ] && unshare --mount true 2>/dev/null; then
    export HUSK_FRESH_NAMESPACE=1
    exec unshare --mount --propagation private bash "$0"
fi
. "${HUSK_SOURCE:-.}/tests/harness.sh"
[ -n "${HUSK_FRESH_NAMESPACE:-}" ] || { skip all "needs root, and mount namespaces"; finish; }
need_programs() { # NAME…
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || { skip all "no $program (tools/install-deps build packages bare)"; finish; }
    done
}
need_programs debootstrap zstd
unset MAKEFLAGS MAKELEVEL DESTDIR SOURCE_DATE_EPOCH
umask 022
root=$scratch/root new=$HUSK_BUILD/packages
# Several suites make packages in one folder, and a system to keep: one after the other.
mkdir -p "$HUSK_BUILD/debian"
exec 9>"$HUSK_BUILD/debian/lock"
flock 9
leave() {
    umount -R "$root/proc" "$root/dev" 2>/dev/null
    rm -rf --one-file-system "$scratch"
}
trap leave EXIT

give_up() { # NAME LOG
    fail "$1" "$(tail -n 20 "$2")"
    finish
}

make_packages() {
    need_programs dh
    "$HUSK_SOURCE/tools/build-packages" "$new" >"$scratch/log" 2>&1 || give_up "build-packages" "$scratch/log"
}

inside() { # COMMAND…
    chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# A node of its own: whatever a program in the system does to its mode or owner, this machine's stays as it is.
own_device() { # NAME
    local numbers
    numbers=$(stat -c '%Hr %Lr' "/dev/$1")
    # shellcheck disable=SC2086
    mknod -m "$(stat -c %a "/dev/$1")" "$root/dev/$1" c $numbers
}

mount_in() {
    mount -t proc proc "$root/proc" && mount -t tmpfs -o mode=755 tmpfs "$root/dev" && mkdir "$root/dev/shm" || return 1
    for device in null zero full random urandom tty kvm; do
        [ ! -c "/dev/$device" ] || own_device "$device" || return 1
    done
    ln -s /proc/self/fd "$root/dev/fd"
    mkdir "$root/dev/pts" && mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts" && ln -s pts/ptmx "$root/dev/ptmx"
}

# Debian 12, as this machine's own apt is set up, with the packages NAME….
new_system() { # FILE NAME…
    local kept=$1 sources mirror
    shift
    sources=$(grep -lE '^(URIs:|deb )' /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null | head -n 1)
    mirror=$(sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb (\[[^]]*\] )?([^ ]+).*/\2/p' "$sources" | head -n 1)
    debootstrap --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg bookworm "$root" "$mirror" || return 1
    rm -f "$root/etc/apt/sources.list"
    cp "$sources" "$root/etc/apt/$([[ $sources == */sources.list.d/* ]] && echo sources.list.d/)"
    grep -l '^Acquire::' /etc/apt/apt.conf.d/* 2>/dev/null | xargs -r cp -t "$root/etc/apt/apt.conf.d"
    cp /etc/resolv.conf "$root/etc/"
    mount_in || return 1
    inside apt-get -q update && inside apt-get -q -y install --no-install-recommends "$@" && inside apt-get clean || return 1
    rm -f "${kept%-*}"-*.tar.zst
    tar -C "$root" --one-file-system -cf - . | zstd -q >"$kept.new" && mv "$kept.new" "$kept"
}

# What is kept of another list of packages of the same KIND goes.
begin_system() { # KIND NAME…
    local kept
    kept=$HUSK_BUILD/debian/$1-$(cksum <<<"${*:2}" | cut -d ' ' -f 1).tar.zst
    mkdir "$root"
    if [ -e "$kept" ]; then
        zstd -dc "$kept" | tar -C "$root" -xf - && mount_in >"$scratch/log" 2>&1 || give_up "unpacking the kept system" "$scratch/log"
    else
        new_system "$kept" "${@:2}" >"$scratch/log" 2>&1 || give_up "a fresh Debian" "$scratch/log"
    fi
    has_kvm=; if [ -r "$root/dev/kvm" ] && [ -w "$root/dev/kvm" ]; then has_kvm=1; fi
}

start_system() {
    local needed
    # What the packages depend on that is not among them, what it takes to build programs, and to run services.
    needed="gcc libc6-dev make cmake pkg-config man-db systemd systemd-sysv dbus udev curl $(for package in "$new"/*.deb; do dpkg-deb -f "$package" Depends; done |
        tr ',' '\n' | sed -E 's/^ *//; s/[ (|].*//' | grep -vE '^(husk|libhusk|$)' | sort -u | tr '\n' ' ')"
    # shellcheck disable=SC2086
    begin_system bookworm $needed
    mkdir "$root/new"
    cp "$new"/*.deb "$root/new"
    rm -f "$root/new"/*-dbgsym_*
}
