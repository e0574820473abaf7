# tests/oci/cri_test.sh: pods with containers of wasm, as a kubelet starts them: containerd's Kubernetes interface (CRI), by crictl.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
. "$HUSK_SOURCE/tests/oci/lab.sh"
crictl=$HUSK_BUILD/oci/crictl
lab_need ctr umoci skopeo busybox
[ -x "$crictl" ] || { skip all "no crictl: it takes Go, minutes, and the network once (tools/install-deps oci)"; finish; }
lab_namespace=k8s.io
lab_probe
# No registry: pod, pause and probe are imported. restrict_oom_score_adj: in a container of its own, root may not lower that.
lab_start "[plugins.\"io.containerd.grpc.v1.cri\"]
sandbox_image = \"example.org/pause:1\"
restrict_oom_score_adj = true
device_ownership_from_security_context = true
[plugins.\"io.containerd.grpc.v1.cri\".cni]
conf_dir = \"$scratch\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd]
snapshotter = \"native\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.husk]
runtime_type = \"io.containerd.runc.v2\"
pod_annotations = [\"husk.*\"]
container_annotations = [\"husk.*\"]
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.husk.options]
BinaryName = \"$oci\""
cri() { # WORD…
    timeout 60 "$crictl" -t 60s -c "$scratch/crictl.yaml" -r "unix://$scratch/c.sock" -i "unix://$scratch/c.sock" "$@"
}
lab_image probe "$probe" /bin/busybox
entry=(/busybox sleep 600)
lab_image pause /bin/busybox

cat >"$scratch/pod.json" <<EOT
{"metadata": {"name": "p", "namespace": "default", "uid": "u$$"}, "annotations": {"husk.timeout": "20s"},
 "linux": {"cgroup_parent": "/husk-cri-$$", "security_context": {"namespace_options": {"network": 2, "pid": 1}}}, "log_directory": "$scratch/logs"}
EOT
container() { # NAME ARGS: JSON of a container
    cat >"$scratch/$1.json" <<EOT
{"metadata": {"name": "$1"}, "image": {"image": "example.org/probe:1"}, "args": $2, "log_path": "$1.log",
 "envs": [{"key": "WHO", "value": "kubelet"}], "mounts": [{"host_path": "$scratch/volume", "container_path": "/config", "readonly": true}],
 "linux": {"resources": {"memory_limit_in_bytes": 67108864, "cpu_period": 100000, "cpu_quota": 50000},
           "security_context": {"run_as_user": {"value": 65534}, "readonly_rootfs": true}}}
EOT
}
state_of() { # ID STATE: waits for it
    local _
    for _ in $(seq 100); do
        [ "$(cri inspect -o go-template --template '{{.status.state}}' "$1")" != "$2" ] || return 0
        sleep 0.1
    done
    return 1
}
: >"$scratch/crictl.yaml"
mkdir -p "$scratch/logs" "$scratch/volume"
echo setting >"$scratch/volume/file"

pod=$(cri runp --runtime husk "$scratch/pod.json" 2>"$scratch/err")
check "a pod with a native pause container: $(tail -n 1 "$scratch/err" | cut -c 1-300)" test -n "$pod"
[ -n "$pod" ] || finish
container good '["cat", "/config/file", "env", "write", "/config/new", "exit", "3"]'
id=$(cri create "$pod" "$scratch/good.json" "$scratch/pod.json" 2>"$scratch/err")
cri start "$id" >/dev/null 2>>"$scratch/err"
check "it ends: $(tail -n 1 "$scratch/err" | cut -c 1-300)" state_of "$id" CONTAINER_EXITED
same "exit code" "$(cri inspect -o go-template --template '{{.status.exitCode}}' "$id")" 3
logs=$(cri logs "$id" 2>&1)
contains "its log" "$logs" "setting"
contains "its environment" "$logs" "WHO=kubelet"
contains "its volume is read-only" "$logs" "/config/new: Read-only file system"
container busy '["spin"]'
id=$(cri create "$pod" "$scratch/busy.json" "$scratch/pod.json")
cri start "$id" >/dev/null
check "it runs" state_of "$id" CONTAINER_RUNNING
out=$(cri exec "$id" /bin/sh 2>&1)
check "exec fails" test $? != 0
contains "exec is refused" "$out" "exec is not possible in a wasm container"
cri stop -t 5 "$id" >/dev/null
check "it stops" state_of "$id" CONTAINER_EXITED
same "by SIGTERM" "$(cri inspect -o go-template --template '{{.status.exitCode}}' "$id")" 143
container hog '["memory"]'
id=$(cri create "$pod" "$scratch/hog.json" "$scratch/pod.json")
cri start "$id" >/dev/null
check "the memory limit ends it" state_of "$id" CONTAINER_EXITED
same "it was a trap, not a kill" "$(cri inspect -o go-template --template '{{.status.exitCode}} {{.status.reason}}' "$id")" "134 Error"
contains "the log says why" "$(cri logs "$id" 2>&1)" "memory limit: the program has"
sed -e 's/"args": \[[^]]*\]/"command": ["\/busybox", "sh", "-c", "echo side; exit 5"]/' "$scratch/hog.json" | sed 's/hog/side/g' >"$scratch/side.json"
id=$(cri create "$pod" "$scratch/side.json" "$scratch/pod.json")
cri start "$id" >/dev/null
check "a native sidecar ends" state_of "$id" CONTAINER_EXITED
contains "a native sidecar" "$(cri logs "$id" 2>&1)" "side"
# As deploy/serve.yaml starts husk serve: a native container that is not root, and has /dev/kvm from a device plugin.
sed -e 's/"args": \[[^]]*\]/"command": ["\/busybox", "sh", "-c", "exec 3<>\/dev\/kvm; exit 6"], "devices": [{"host_path": "\/dev\/kvm", "container_path": "\/dev\/kvm", "permissions": "rw"}]/' \
    -e 's/"hog/"plugin/g' -e 's/"run_as_user": {"value": 65534}/&, "run_as_group": {"value": 65534}/' "$scratch/hog.json" >"$scratch/plugin.json"
id=$(cri create "$pod" "$scratch/plugin.json" "$scratch/pod.json")
cri start "$id" >/dev/null
check "a native container with /dev/kvm ends" state_of "$id" CONTAINER_EXITED
same "its user may open it: $(cri logs "$id" 2>&1)" "$(cri inspect -o go-template --template '{{.status.exitCode}}' "$id")" 6
cri stopp "$pod" >/dev/null
cri rmp "$pod" >/dev/null
same "no pod is left" "$(cri pods -q)" ""
same "no container is left" "$(cri ps -a -q)" ""
same "no process is left" "$(pgrep -f "containerd-shim-runc-v2 .*$scratch/" || true)" ""
same "no mount is left" "$(grep -F "$scratch/" /proc/self/mounts)" ""
find /sys/fs/cgroup -mindepth 2 -maxdepth 2 -type d -name "husk-cri-$$" -exec rmdir {} + 2>/dev/null
same "no control group is left" "$(find /sys/fs/cgroup -maxdepth 3 -type d -name "husk-cri-$$")" ""
finish
