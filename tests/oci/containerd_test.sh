# tests/oci/containerd_test.sh: containers of wasm under a real containerd, by ctr: output, exit codes, files, limits, signals, terminals, exec;
# native containers beside them; and that nothing is left.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
. "$HUSK_SOURCE/tests/oci/lab.sh"
lab_need ctr umoci skopeo busybox script
lab_probe
"$husk" compile "$probe" -o "$scratch/probe.husk" || fail "compile" "failed"
lab_start
lab_image probe "$probe" "$scratch/probe.husk" /bin/busybox
check "an image of a module alone is small: $(wc -c <"$probe") bytes of wasm" test "$(wc -c <"$probe")" -lt 300000

# ---- what a container is ----
run a args exit 3
same "exit code 3" "$code" 3
same "words" "$out" "/probe.wasm
args
exit
3"
run a exit 0
same "exit code 0" "$code" 0
run a trap
same "a trap" "$code" 134
contains "a trap: its backtrace" "$err" "trap: unreachable"
options=(--env A=1 --env "B=two words" --cwd /somewhere)
run a env
contains "environment" "$out" "B=two words"
contains "the working directory" "$out" "PWD=/somewhere"
same "nothing of husk's" "$(grep -ciE '^husk|^xdg' <<<"$out")" 0
options=()
run_image probe a
same "the image's entry point" "$code" 0
run_image probe a /probe.husk args exit 5
same "a compiled image: exit code" "$code" 5
contains "a compiled image: its words" "$out" "/probe.husk"
options=(--seccomp)
run a exit 3
same "under containerd's seccomp profile" "$code" 3
options=()

# ---- files ----
mkdir "$scratch/volume"
echo content >"$scratch/volume/file"
options=(--mount "type=bind,src=$scratch/volume,dst=/data,options=rbind:ro")
run a cat /data/file write /data/new write /own
same "a read-only mount" "$out" "content
/data/new: Read-only file system
/own: written"
options=(--read-only --mount "type=bind,src=$scratch/volume,dst=/data/deep/er,options=rbind:rw")
run a write /data/deep/er/new write /own cat /proc/self/maps cat /dev/kvm cat /etc/passwd cat /../../../etc/shadow cat /husk
same "a read-only root" "$out" "/data/deep/er/new: written
/own: Read-only file system
/proc/self/maps: No such file or directory
/dev/kvm: No such file or directory
/etc/passwd: No such file or directory
/../../../etc/shadow: Operation not permitted
/husk: No such file or directory"
same "it is on the host" "$(cat "$scratch/volume/new")" "written"
options=()

# ---- limits ----
options=(--memory-limit $((64 << 20)))
run a memory
same "the memory limit: exit code" "$code" 134
contains "the memory limit is said" "$err" "memory limit: the program has "
took=$(sed -n 's/^took \([0-9]*\) MiB$/\1/p' <<<"$out")
check "the guest got most of it: $took MiB" test "${took:-0}" -gt 44
options=(--memory-limit $((8 << 20)))
run a exit 0
contains "a limit that is too low is said" "$err" "is too low"
options=(--annotation husk.timeout=300ms)
run a spin
same "the time limit" "$code" 124
options=()

# ---- signals, exec ----
c run -d --snapshotter native --runc-binary "$oci" example.org/probe:1 long /probe.wasm sleep 60000 >/dev/null 2>&1
same "it runs" "$(c tasks ls | awk '$1 == "long" { print $3 }')" RUNNING
out=$(c tasks exec --exec-id e long /bin/sh 2>&1)
check "exec fails" test $? != 0
contains "exec is refused" "$out" "exec is not possible in a wasm container"
inside=$(c tasks ls | awk '$1 == "long" { print $2 }')
same "the process is husk" "$(tr '\0' ' ' <"/proc/$inside/cmdline" | cut -d ' ' -f 1-2)" "/husk run"
same "it has two files and the guest's tree" "$(ls "/proc/$inside/root/" | tr '\n' ' ')" "dev husk proc program.husk rootfs sys "
c tasks kill -s TERM long
for _ in $(seq 50); do [ "$(c tasks ls | awk '$1 == "long" { print $3 }')" = RUNNING ] || break; sleep 0.1; done
out=$(c tasks rm long 2>&1)
contains "SIGTERM ends it" "$out" "exit code 143"
c containers rm long
c run -d --snapshotter native --runc-binary "$oci" example.org/probe:1 spin /probe.wasm spin >/dev/null 2>&1
c tasks kill -s KILL spin
for _ in $(seq 50); do [ "$(c tasks ls | awk '$1 == "spin" { print $3 }')" = RUNNING ] || break; sleep 0.1; done
out=$(c tasks rm spin 2>&1)
contains "SIGKILL ends it" "$out" "exit code 137"
c containers rm spin

# ---- terminal ----
out=$(script -qec "timeout --foreground 60 ctr -a $scratch/c.sock -n $lab_namespace run --rm -t --snapshotter native --runc-binary $oci example.org/probe:1 t /probe.wasm tty read" /dev/null < <(for _ in $(seq 20); do sleep 0.5; echo hello; done) | tr -d '\r')
contains "a terminal" "$out" "a terminal"
contains "it can be read" "$out" "read: hello"

# ---- others ----
run_image probe n /busybox sh -c 'echo native; exit 4'
same "a native container" "$code $out" "4 native"
printf 'text' >"$scratch/bad.wasm"
printf '\0asm\1\0\0\0\1' >"$scratch/broken.wasm"
lab_image bad "$scratch/bad.wasm" "$scratch/broken.wasm"
run_image bad b
contains "no module" "$err" "/bad.wasm is neither a wasm module nor an image of Husk"
run_image bad b /broken.wasm
contains "a broken module" "$err" "while compiling /broken.wasm"
run_image bad b /none.wasm
contains "no such module" "$err" "cannot open /none.wasm in the container: No such file or directory"
mkdir "$scratch/small"
mount -t tmpfs -o size=16k,mode=0755 husk-test "$scratch/small"
mkdir -p "$scratch/small/rootfs"
cp "$scratch/layout-probe/index.json" "$scratch/small/" 2>/dev/null
runc spec -b "$scratch/small" 2>/dev/null || true
printf '\0asm\1\0\0\0' >"$scratch/small/rootfs/a.wasm"
sed -i 's/"sh"/"\/a.wasm"/' "$scratch/small/config.json"
cp "$scratch/small/config.json" "$scratch/before.json"
head -c 1M /dev/zero >"$scratch/small/full" 2>/dev/null
out=$("$oci" create -b "$scratch/small" full 2>&1)
same "a full disk: exit code" $? 1
contains "a full disk" "$out" "No space left on device"
check "a full disk: the config is as it was" cmp -s "$scratch/small/config.json" "$scratch/before.json"
umount "$scratch/small"

# ---- nothing is left ----
left=$(lab_left)
same "nothing is left" "$left" ""
rounds=${HUSK_OCI_ROUNDS:-50}
begin=$(date +%s%N)
good=0
for i in $(seq "$rounds"); do
    run "many$i" exit 3
    [ "$code" = 3 ] && good=$((good + 1))
done
same "$rounds containers" "$good" "$rounds"
echo "group: $rounds containers in turn: $((($(date +%s%N) - begin) / 1000000 / rounds)) ms each, with ctr, containerd and runc"
same "nothing is left of $rounds" "$(lab_left)" ""
same "the cache has two modules" "$(find "$scratch/cache" -name "*.husk" | wc -l)" 2
finish
