# tests/oci/lab.sh: for the suites in this folder, sourced after tests/harness.sh: a containerd in the scratch folder, and images made by hand.
#
#   lab_need ctr umoci …     the suite is skipped without root, KVM, husk-oci and these programs
#   lab_start [LINES]        starts containerd; LINES are added to its settings
#   lab_image NAME FILE…     imports an image with FILE as /basename; the first one is the entry point, or ${entry[@]}
#   run ID WORD…             runs /probe.wasm with these words; options of ctr in ${options[@]}: $out and $code
#
# Whatever happens, at the end nothing is left: containers, shims, mounts, control groups.
oci=$HUSK_BUILD/husk-oci
lab_namespace=husk-test-$$
containerd_pid=
options=()
entry=()

lab_need() { # PROGRAM…
    local program
    [ "$(id -u)" = 0 ] || { skip all "needs root"; finish; }
    need_kvm
    [ -x "$oci" ] && [ -x "$HUSK_BUILD/husk-static" ] || { skip all "husk-oci or husk-static was not built"; finish; }
    for program in containerd runc "$@"; do
        command -v "$program" >/dev/null || { skip all "no $program (tools/install-deps oci)"; finish; }
    done
    if ! mkdir -p "$scratch/mount" || ! mount -t tmpfs -o mode=0755 husk-test "$scratch/mount" 2>/dev/null; then
        skip all "this root may not mount"
        finish
    fi
    umount "$scratch/mount"
}

lab_shims() {
    pgrep -f "^/?[^ ]*containerd-shim-runc-v2 .*-address $scratch/" || true
}

# What is left of the containers: mounts, shims, control groups with processes or names of ours, files of the runtime.
lab_left() {
    grep -F "$scratch/" /proc/self/mounts | cut -d ' ' -f 2
    lab_shims
    find /sys/fs/cgroup -mindepth 2 -maxdepth 3 -type d -path "*$lab_namespace/*" 2>/dev/null
    find "$scratch/state" -path "*v2.task/$lab_namespace/*" -prune 2>/dev/null
    find "/run/containerd/runc/$lab_namespace" -mindepth 1 -maxdepth 1 2>/dev/null
}

lab_end() {
    local id pid
    if [ -n "$containerd_pid" ]; then
        for id in $(c tasks ls -q 2>/dev/null); do
            timeout 10 ctr -a "$scratch/c.sock" -n "$lab_namespace" tasks kill -s KILL "$id" 2>/dev/null
            timeout 10 ctr -a "$scratch/c.sock" -n "$lab_namespace" tasks rm -f "$id" >/dev/null 2>&1
        done
        kill "$containerd_pid" 2>/dev/null
        wait "$containerd_pid" 2>/dev/null
    fi
    for pid in $(lab_shims); do kill -9 "$pid" 2>/dev/null; done
    grep -F "$scratch/" /proc/self/mounts | cut -d ' ' -f 2 | sort -r | while read -r id; do umount -l "$id"; done
    rmdir "/run/containerd/runc/$lab_namespace" 2>/dev/null
    find /sys/fs/cgroup -mindepth 2 -maxdepth 2 -type d -name "$lab_namespace" -exec rmdir {} + 2>/dev/null
    rm -rf --one-file-system "$scratch"
}
trap lab_end EXIT
trap 'exit 143' TERM INT HUP

c() { # WORD…: ctr
    timeout 60 ctr -a "$scratch/c.sock" -n "$lab_namespace" "$@"
}

lab_start() { # [LINES]
    export HUSK_OCI_CACHE=$scratch/cache
    local lines=${1:-'disabled_plugins = ["io.containerd.grpc.v1.cri"]'} i
    mkdir -p "$scratch/root" "$scratch/state"
    cat >"$scratch/c.toml" <<TOML
version = 2
root = "$scratch/root"
state = "$scratch/state"
$lines
[grpc]
address = "$scratch/c.sock"
TOML
    containerd -c "$scratch/c.toml" >"$scratch/containerd.log" 2>&1 </dev/null &
    containerd_pid=$!
    for i in $(seq 100); do
        kill -0 "$containerd_pid" 2>/dev/null || break
        ! timeout 5 ctr -a "$scratch/c.sock" version >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    skip all "containerd does not start here: $(tail -n 1 "$scratch/containerd.log" | cut -c 1-300)"
    finish
}

# $probe: probe.c as a module.
lab_probe() {
    probe=$scratch/probe.wasm
    local clang
    clang=$("$HUSK_SOURCE/tools/find-llvm-tool" clang)
    "$clang" --target=wasm32-wasi -O1 -w "$HUSK_SOURCE/tests/oci/probe.c" -o "$probe" ||
        { fail probe "cannot be compiled"; finish; }
}

lab_image() { # NAME FILE…
    local name=$1 layout=$scratch/layout-$1 file word words=()
    shift
    [ ${#entry[@]} != 0 ] || words=(--config.entrypoint "/$(basename "$1")")
    for word in "${entry[@]}"; do words+=(--config.entrypoint "$word"); done
    {
        umoci init --layout "$layout" && umoci new --image "$layout:1" &&
            umoci config --image "$layout:1" "${words[@]}"
        for file in "$@"; do umoci insert --rootless --image "$layout:1" "$file" "/$(basename "$file")"; done
        skopeo --insecure-policy copy -q "oci:$layout:1" "docker-archive:$scratch/$name.tar:example.org/$name:1"
        c images import --snapshotter native "$scratch/$name.tar"
    } >"$scratch/image.log" 2>&1 || { fail "the image $name" "$(tail -n 5 "$scratch/image.log")"; finish; }
}

run_image() { # IMAGE ID WORD…
    local image=$1 id=$2
    shift 2
    out=$(c run --rm --snapshotter native --runc-binary "$oci" "${options[@]}" "example.org/$image:1" "$id" "$@" 2>"$scratch/err" </dev/null)
    code=$?
    err=$(cat "$scratch/err")
}

run() { # ID WORD…
    local id=$1
    shift
    run_image probe "$id" /probe.wasm "$@"
}
