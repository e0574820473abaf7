# tests/oci/crun_test.sh: husk-oci without an engine, with runc and with crun, as root, with a user namespace, and as a user who is not root:
# exit codes, files, limits, signals, native containers, and that nothing is left.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
. "$HUSK_SOURCE/tests/oci/lab.sh"
lab_need busybox setpriv unshare python3
lab_probe
chmod a+x "$scratch"
user=12345
# Debian's crun wants control groups of version 2 alone, and none of its own where it may not load programs for devices: in a mount
# namespace of the test's, there are such, and it makes none. /dev/kvm there is for everybody.
cat >"$scratch/inside" <<'INSIDE'
mount --bind "$1" /dev/kvm || exit 99
if [ "$2" = crun ]; then
    umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 99
fi
shift 2
exec "$@"
INSIDE
if ! mknod -m 666 "$scratch/kvm" c $((0x$(stat -c %t /dev/kvm))) $((0x$(stat -c %T /dev/kvm))) || ! { : <"$scratch/kvm"; } 2>/dev/null; then
    skip all "no device can be made in $scratch"
    finish
fi
if ! unshare -m --propagation private sh "$scratch/inside" "$scratch/kvm" crun true 2>"$scratch/err"; then
    skip all "no control groups of version 2: $(tail -n 1 "$scratch/err")"
    finish
fi

# bundle NAME PROGRAM: a bundle with probe.wasm, busybox and a volume; PROGRAM changes `c`, the config, in Python's words
bundle() {
    local dir=$scratch/$1
    mkdir -p "$dir/rootfs/bin" "$dir/volume" "$dir/state" "$dir/home"
    cp "$probe" "$dir/rootfs/"
    cp "$(command -v busybox)" "$dir/rootfs/bin/sh"
    echo content >"$dir/volume/file"
    (cd "$dir" && rm -f config.json && runc spec && python3 - "$2" <<'CONFIG'
import json, sys
c = json.load(open("config.json"))
c["process"]["terminal"] = False
c["process"]["args"] = ["/probe.wasm", "args", "exit", "3"]
c["process"]["env"] = ["A=1"]
c["root"]["readonly"] = False
c["mounts"].append({"destination": "/data", "type": "bind", "source": "volume", "options": ["rbind", "ro"]})
def own_users(first, count):
    c["linux"]["namespaces"].append({"type": "user"})
    for name in "uidMappings", "gidMappings":
        c["linux"][name] = [{"containerID": 0, "hostID": first, "size": count}]
def rootless(user):
    own_users(user, 1)
    c["linux"]["namespaces"] = [n for n in c["linux"]["namespaces"] if n["type"] not in ("network", "cgroup")]
    c["linux"]["resources"] = {}
    c["mounts"] = [m for m in c["mounts"] if m["destination"] not in ("/sys", "/sys/fs/cgroup")]
    for m in c["mounts"]:
        m["options"] = [o for o in m.get("options", []) if not o.startswith("gid=")]
exec(sys.argv[1])
json.dump(c, open("config.json", "w"))
CONFIG
    )
    chown -R "${as:-0}" "$dir"
}

# oci NAME WORD…: husk-oci, as ${as:-root}, in the folder of the bundle: $code, $scratch/out, $scratch/err
oci() {
    local dir=$scratch/$1 how=()
    shift
    [ $runtime != crun ] || how=(--cgroup-manager=disabled)
    # its standard input is a file, because crun gives that to the container's user, /dev/null of the machine as well
    : >"$scratch/out"
    : >"$scratch/out.in"
    : >"$scratch/err"
    chown "${as:-0}" "$scratch/out" "$scratch/out.in" "$scratch/err"
    (cd "$dir" && timeout 60 env HOME="$dir/home" XDG_RUNTIME_DIR="$dir/home" HUSK_OCI_RUNTIME=$runtime HUSK_OCI_CACHE="$dir/home/cache" \
        unshare -m --propagation private sh "$scratch/inside" "$scratch/kvm" $runtime \
        setpriv --reuid "${as:-0}" --regid "${as:-0}" --clear-groups -- sh -c 'out=$1 err=$2; shift 2; exec "$@" <"$out.in" >"$out" 2>"$err"' sh \
        "$scratch/out" "$scratch/err" "$oci" --root "$dir/state" "${how[@]}" "$@")
    code=$?
}
# ends NAME WHAT CODE PART: a bundle runs so; PART is in what it says
ends() {
    oci "$1" run "c-$runtime-$$"
    same "$2: exit code ($(tail -n 1 "$scratch/err" | cut -c 1-200))" "$code" "$3"
    contains "$2" "$(cat "$scratch/out" "$scratch/err")" "$4"
}

for runtime in runc crun; do
    command -v $runtime >/dev/null || { skip $runtime "is not installed"; continue; }
    for kind in root users rootless; do
        what="$runtime, $kind" as=
        case $kind in
        root) change=pass ;;
        users) change='own_users(100000, 65536)' ;;
        rootless) change="rootless($user)" as=$user ;;
        esac
        if [ $kind = rootless ] && ! setpriv --reuid $user --regid $user --clear-groups test -x "$oci"; then
            skip "$what" "a user who is not root cannot reach $oci"
            continue
        fi
        name=$runtime-$kind
        bundle $name "$change; c['process']['args'][1:] = ['env', 'cat', '/data/file', 'write', '/data/new', 'write', '/own', 'cat', '/dev/kvm', 'exit', '3']"
        [ $kind != users ] || chmod a+w "$scratch/$name/rootfs"
        ends $name "$what: files" 3 "content"
        contains "$what: environment" "$(cat "$scratch/out")" "A=1"
        contains "$what: a read-only volume" "$(cat "$scratch/out")" "/data/new: Read-only file system"
        contains "$what: a root that can be written" "$(cat "$scratch/out")" "/own: written"
        contains "$what: what is husk's" "$(cat "$scratch/out")" "/dev/kvm: No such file or directory"
        same "$what: whose file it is" "$(stat -c %u "$scratch/$name/rootfs/own")" "$([ $kind = users ] && echo 100000 || echo "${as:-0}")"
        bundle $name "$change; c['process']['args'] = ['/bin/sh', '-c', 'echo native; exit 4']"
        ends $name "$what: a native container" 4 "native"
        if [ $runtime-$kind = crun-root ]; then
            bundle $name "$change; c['process']['args'][1:] = ['trap']"
            ends $name "$what: a trap" 134 "trap: unreachable"
            bundle $name "$change; c['process']['args'][1:] = ['memory']; c.setdefault('annotations', {})['husk.max-memory'] = '48M'"
            ends $name "$what: the memory limit" 134 "memory limit: the program has"
            bundle $name "$change; c['process']['args'][1:] = ['spin']; c.setdefault('annotations', {})['husk.timeout'] = '300ms'"
            ends $name "$what: the time limit" 124 ""
        fi
        same "$what: nothing is left" "$(ls "$scratch/$name/state")" ""
    done
done
finish
