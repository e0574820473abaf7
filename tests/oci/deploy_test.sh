# tests/oci/deploy_test.sh: the manifests in deploy/ have the fields that Kubernetes publishes, and no others; the settings for containerd are taken by
# containerd.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
if command -v containerd >/dev/null; then
    printed=$(containerd -c "$HUSK_SOURCE/deploy/containerd.toml" config dump 2>"$scratch/err")
    contains "containerd takes its settings: $(tail -n 1 "$scratch/err" | cut -c 1-200)" "$printed" 'BinaryName = "/usr/bin/husk-oci"'
    contains "annotations are passed on" "$printed" '"husk.*"'
    contains "devices are of the container's user" "$printed" "device_ownership_from_security_context = true"
else
    skip "containerd's settings" "no containerd"
fi
# CRI-O knows these settings. It would not start with an annotation of ours among those that it allows (its source: pkg/config/config.go).
same "crio.conf's settings" "$(grep -vE '^ *(#|$)' "$HUSK_SOURCE/deploy/crio.conf")" '[crio.runtime]
device_ownership_from_security_context = true
[crio.runtime.runtimes.husk]
runtime_path = "/usr/bin/husk-oci"
runtime_type = "oci"'
# Every annotation of ours is in the documents.
for name in $(sed -nE 's/^ *\{"(husk\.[a-z-]+)", .*/\1/p' "$HUSK_SOURCE/oci/arguments.c"); do
    check "docs/kubernetes.md has $name" grep -q "$name" "$HUSK_SOURCE/docs/kubernetes.md"
    check "husk-oci(8) has $name" grep -q "$name" "$HUSK_SOURCE/docs/man/husk-oci.8"
done
# husk serve takes the command line of its manifest, but for the addresses, and answers there.
read -ra words <<<"$(sed -nE 's/^ *command: \[husk, serve, \/app\.wasm, (.*)\]$/\1/p' "$HUSK_SOURCE/deploy/serve.yaml" | tr -d ',"')"
check "serve.yaml has a command line" test ${#words[@]} -ge 8
if command -v curl >/dev/null && [ -r /dev/kvm ] && [ -x "$HUSK_BUILD/husk-serve" ] && [ -f "$HUSK_BUILD/examples/cgi.wasm" ]; then
    for i in "${!words[@]}"; do words[i]=${words[i]/#0.0.0.0:*/127.0.0.1:0}; done
    HUSK_CACHE_DIR=$scratch/cache "$husk" serve "$HUSK_BUILD/examples/cgi.wasm" "${words[@]}" >"$scratch/serve.log" 2>&1 &
    pid=$!
    for ((i = 0; i < 300; i++)); do
        [ "$(grep -c 'listening on' "$scratch/serve.log" 2>/dev/null)" != 2 ] || break
        sleep 0.2
    done
    answers=$(for port in $(sed -n 's/.*listening on .*://p' "$scratch/serve.log"); do curl -s -m 20 "http://127.0.0.1:$port/healthz"; done)
    same "husk serve, as in its manifest: $(head -c 300 "$scratch/serve.log")" "$answers" "ok
ok"
    contains "its workers" "$(cat "$scratch/serve.log")" " 2 workers"
    kill "$pid"
    wait "$pid"
    same "SIGTERM" $? 0
else
    skip "husk serve, as in its manifest" "no curl, no KVM, or it was not built"
fi
if ! command -v go >/dev/null; then
    skip "the manifests" "no Go"
    finish
fi
checker=$HUSK_BUILD/oci/manifests-check
source=$HUSK_SOURCE/tests/oci/manifests
is_built() { [ -x "$checker" ] && ! [ "$source/main.go" -nt "$checker" ] && ! [ "$source/go.mod" -nt "$checker" ]; }
if ! is_built && [ "${CI:-}" = true ]; then
    skip "the manifests" "what reads them is not built here, which takes minutes: make test-oci"
    finish
fi
if ! is_built && ! (cd "$source" && timeout 800 nice -n 5 go build -o "$checker" .) >"$scratch/go.log" 2>&1; then
    skip "the manifests" "k8s.io/api cannot be had: $(tail -n 1 "$scratch/go.log" | cut -c 1-200)"
    finish
fi
out=$("$checker" "$HUSK_SOURCE"/deploy/*.yaml 2>&1)
same "the manifests" "$out" "HorizontalPodAutoscaler hello
ConfigMap prometheus-adapter
Job words
RuntimeClass husk
Deployment hello
Service hello"
sed 's/runtimeClassName/runtimeclassname2/' "$HUSK_SOURCE/deploy/job.yaml" >"$scratch/bad.yaml"
out=$("$checker" "$scratch/bad.yaml" 2>&1)
check "a wrong field is found" test $? = 1
finish
