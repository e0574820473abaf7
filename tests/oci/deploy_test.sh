# tests/oci/deploy_test.sh: the manifests in deploy/ have the fields that Kubernetes publishes, and no others; the settings for containerd are taken by
# containerd.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
if command -v containerd >/dev/null; then
    printed=$(containerd -c "$HUSK_SOURCE/deploy/containerd.toml" config dump 2>"$scratch/err")
    contains "containerd takes its settings: $(tail -n 1 "$scratch/err" | cut -c 1-200)" "$printed" 'BinaryName = "/usr/bin/husk-oci"'
    contains "annotations are passed on" "$printed" '"husk.*"'
else
    skip "containerd's settings" "no containerd"
fi
# Every annotation of ours is in CRI-O's list, which has no patterns, and in the document.
for name in $(sed -nE 's/^ *\{"(husk\.[a-z-]+)", .*/\1/p' "$HUSK_SOURCE/oci/arguments.c"); do
    [ "$name" = husk.handler ] || check "crio.conf has $name" grep -q "\"$name\"" "$HUSK_SOURCE/deploy/crio.conf"
    check "docs/kubernetes.md has $name" grep -q "$name" "$HUSK_SOURCE/docs/kubernetes.md"
    check "husk-oci(8) has $name" grep -q "$name" "$HUSK_SOURCE/docs/man/husk-oci.8"
done
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
