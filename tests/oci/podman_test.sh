# tests/oci/podman_test.sh: containers of wasm by Podman, with husk-oci as its runtime.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
. "$HUSK_SOURCE/tests/oci/lab.sh"
lab_need podman conmon
lab_probe
# Podman passes no variables on to its runtime.
printf '#!/bin/sh\nHUSK_OCI_CACHE=%q exec %q "$@"\n' "$scratch/cache" "$oci" >"$scratch/runtime"
chmod +x "$scratch/runtime"
pod() { # WORD…: podman, with all that it keeps in the scratch folder
    timeout 60 podman --root "$scratch/root" --runroot "$scratch/run" --tmpdir "$scratch/tmp" --storage-driver vfs --cgroup-manager cgroupfs \
        --events-backend file --runtime "$scratch/runtime" "$@"
}
# No network plugins, no journal; rlimits that a root in a container may set.
basic=(--cgroup-parent "/$lab_namespace" --network none --log-driver k8s-file --ulimit nofile=1024:1024 --ulimit nproc=1000:1000)
tar -C "$scratch" -cf "$scratch/image.tar" probe.wasm
if ! pod import -q "$scratch/image.tar" probe >/dev/null 2>"$scratch/err"; then
    skip all "Podman does not work here: $(tail -n 1 "$scratch/err" | cut -c 1-300)"
    finish
fi
out=$(pod run --rm "${basic[@]}" --env A=1 --user 5:5 probe /probe.wasm args env exit 3 2>"$scratch/err")
code=$?
same "exit code: $(tail -n 1 "$scratch/err" | cut -c 1-300)" "$code" 3
contains "environment" "$out" "A=1"
mkdir "$scratch/volume"
echo content >"$scratch/volume/file"
out=$(pod run --rm "${basic[@]}" --read-only --memory 64m -v "$scratch/volume:/data:ro" probe /probe.wasm cat /data/file write /data/x memory 2>&1)
same "the memory limit" $? 134
contains "a volume" "$out" "content"
contains "it is read-only" "$out" "/data/x: Read-only file system"
contains "the memory limit is said" "$out" "memory limit: the program has"
out=$(pod run --rm "${basic[@]}" --annotation husk.timeout=soon probe /probe.wasm 2>&1)
contains "an error of ours is shown" "$out" "husk.timeout wants a time"
pod run -d "${basic[@]}" --name long probe /probe.wasm args sleep 60000 >/dev/null 2>&1
out=$(pod exec long sh 2>&1)
check "exec fails" test $? != 0
contains "exec is refused" "$out" "exec is not possible in a wasm container"
contains "logs" "$(pod logs long 2>&1)" "60000"
pod stop -t 10 long >/dev/null 2>&1
same "it was stopped by SIGTERM" "$(pod inspect --format '{{.State.ExitCode}}' long)" 143
pod rm -f -a >/dev/null 2>&1
same "no container is left" "$(pod ps -a -q)" ""
same "no mount is left" "$(grep -F "$scratch/" /proc/self/mounts | grep -vE ' (tmpfs|overlay) .*/(tmp|run|root)')" ""
find /sys/fs/cgroup -mindepth 2 -maxdepth 3 -type d -path "*/$lab_namespace*" -depth -exec rmdir {} + 2>/dev/null
# Podman makes it whatever it is told; one in use is not empty.
find /sys/fs/cgroup -mindepth 2 -maxdepth 3 -path "*/libpod_parent*" -depth -type d -exec rmdir {} + 2>/dev/null
same "no control group is left" "$(find /sys/fs/cgroup -mindepth 2 -maxdepth 3 -path "*/$lab_namespace*" -type d)" ""
same "the module is in the test's cache, not in the machine's" "$(find "$scratch/cache" -name '*.husk' | wc -l)" 1
finish
