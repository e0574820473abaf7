# tests/cli/oci_test.sh: husk-oci rewrites bundles, with a program in the place of runc that says what it got. No root, no containers: those are
# in tests/oci.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
oci=$HUSK_BUILD/husk-oci
if ! [ -x "$oci" ] || ! [ -x "$HUSK_BUILD/husk-static" ]; then
    skip all "husk-oci was not built, or no husk without libraries (json-c, a static C library; no sanitizer)"
    finish
fi
if ! [ -c /dev/kvm ]; then
    skip all "no /dev/kvm"
    finish
fi
export HUSK_OCI_CACHE=$scratch/cache HUSK_OCI_CONF=$scratch/oci.conf HUSK_OCI_RUNTIME=$scratch/runtime
: >"$HUSK_OCI_CONF"
cat >"$HUSK_OCI_RUNTIME" <<'RUNTIME'
#!/bin/bash
# In the place of runc: notes its words; tells the state of the container "wasm".
printf '%s\n' "$@" >"$(dirname "$0")/words"
case " $* " in
*" state wasm "*) echo '{"id":"wasm","annotations":{"husk.oci":"1"}}' ;;
*" state "*) echo '{"id":"other","annotations":{"a":"b"}}' ;;
esac
exit 7
RUNTIME
chmod +x "$HUSK_OCI_RUNTIME"

# A bundle: $bundle, with the smallest module there is as /app.wasm.
new_bundle() {
    bundle=$(mktemp -d "$scratch/bundle.XXXX")
    mkdir -p "$bundle/rootfs/bin" "$bundle/rootfs/data" "$bundle/volume"
    printf '\0asm\1\0\0\0' >"$bundle/rootfs/app.wasm"
    cp /bin/true "$bundle/rootfs/bin/native"
    printf '#!/bin/sh\n' >"$bundle/rootfs/bin/script"
}
config() { # JSON: written to $bundle
    printf '%s' "$1" >"$bundle/config.json"
}
create() { # OPTION…: $code, $out; $log is what the log has; $words are those of the runtime
    rm -f "$scratch/words" "$scratch/log"
    out=$("$oci" --log "$scratch/log" --log-format json "$@" create --bundle "$bundle" id 2>&1)
    code=$?
    log=$(cat "$scratch/log" 2>/dev/null)
    words=$(cat "$scratch/words" 2>/dev/null)
}
plain() { # ARGS [PROCESS [ROOT [REST]]]: JSON of a config
    printf '{"ociVersion":"1.0.2","process":{"args":%s,"cwd":"/"%s},"root":{"path":"rootfs"%s}%s}' "$1" "${2:-}" "${3:-}" "${4:-}"
}
rewritten() { # NAME JSON [PART…]: the config is rewritten and the runtime started; parts of the new one
    local name=$1 json=$2 part
    shift 2
    new_bundle
    config "$json"
    create
    same "$name: the runtime's exit code" "$code" 7
    new=$(cat "$bundle/config.json")
    contains "$name: the mark" "$new" '"husk.oci":"1"'
    for part in "$@"; do contains "$name" "$new" "$part"; done
}
untouched() { # NAME JSON: passed through as it is
    new_bundle
    config "$2"
    before=$(stat -c '%i %Y %Z' "$bundle/config.json")
    create
    same "$1: the runtime's exit code" "$code" 7
    same "$1: the config" "$(cat "$bundle/config.json")" "$2"
    same "$1: the file" "$(stat -c '%i %Y %Z' "$bundle/config.json")" "$before"
    check "$1: no folder of ours" test ! -e "$bundle/husk-root"
}
refused() { # NAME JSON PART: the error is in the log and on standard error, and the runtime is not started
    new_bundle
    config "$2"
    refused_now "$1" "$3"
    same "$1: the config is as it was" "$(cat "$bundle/config.json")" "$2"
}
refused_now() { # NAME PART: what is in $bundle
    create
    same "$1: exit code" "$code" 1
    contains "$1" "$log" "$2"
    contains "$1: standard error" "$out" "husk-oci: "
    check "$1: one line of JSON as runc writes it" grep -qE '^\{"level":"error","msg":"[^"]([^"\\]|\\.)*","time":"20[0-9-]*T[0-9:]*Z"\}$' <<<"$log"
    same "$1: lines" "$(wc -l <<<"$log")" 1
    same "$1: the runtime" "$words" ""
    same "$1: nothing is left" "$(find "$bundle" -name '.config*' 2>/dev/null)" ""
}

# ---- what is rewritten ----
module='["/app.wasm","a","b c"]'
rewritten "a module" "$(plain "$module" ',"env":["A=1","B=two words","A=3"],"user":{"uid":65534,"gid":5}' '' ',"hostname":"h","linux":{"namespaces":[{"type":"pid"}]}')" \
    '"args":["/husk","run","--dir","/rootfs::/","--env","A","--env","B","--argv0","/app.wasm","--","/program.husk","a","b c"]' \
    '"env":["B=two words","A=3"]' '"cwd":"/"' '"user":{"uid":65534,"gid":5}' '"root":{"path":"husk-root","readonly":true}' \
    "{\"destination\":\"/rootfs\",\"type\":\"bind\",\"source\":\"$bundle" '"options":["rbind","rw","nosuid","nodev"]' \
    '"destination":"/husk","type":"bind"' '"destination":"/program.husk","type":"bind","source":"'"$HUSK_OCI_CACHE" '"hostname":"h"' \
    '"namespaces":[{"type":"pid"}]' '"devices":[{"path":"/dev/kvm","type":"c","major":10,"minor":232,"fileMode":438,"uid":0,"gid":0}]' \
    '{"allow":true,"type":"c","major":10,"minor":232,"access":"rw"}'
same "the runtime's words" "$words" "--log
$scratch/log
--log-format
json
create
--bundle
$bundle
id"
check "places for mounts" test -d "$bundle/husk-root/rootfs" -a -d "$bundle/husk-root/proc" -a -f "$bundle/husk-root/husk"
image=$(grep -oE '"source":"[^"]*\.husk"' <<<"$new" | cut -d '"' -f 4)
check "the image is in the cache, and every user may read it" test "$(stat -c %A "$image" | cut -c 8)" = r
check "husk knows it" "$husk" inspect "$image" >/dev/null
# containerd may call create again
create
same "again: the runtime's exit code" "$code" 7
same "again: the config" "$(cat "$bundle/config.json")" "$new"
for how in "-b=" "--bundle=" "-bundle "; do
    new_bundle
    config "$(plain "$module")"
    # shellcheck disable=SC2086
    "$oci" create $how$bundle id
    contains "create $how" "$(cat "$bundle/config.json")" '"husk.oci"'
done
new_bundle
config "$(plain "$module")"
(cd "$bundle" && "$oci" --root x run id)
contains "run in the bundle" "$(cat "$bundle/config.json")" '"husk.oci"'
new_bundle
config "$(plain "$module")"
"$oci" create id --bundle "$bundle"
contains "the name first" "$(cat "$bundle/config.json")" '"husk.oci"'
rewritten "read-only" "$(plain "$module" '' ',"readonly":true')" '"options":["rbind","ro","nosuid","nodev"]'
rewritten "by its name in PATH" "$(plain '["app"]' ',"env":["PATH=/none:/bin"]' '' | sed 's/"app"/"app.wasm"/')" '"--argv0","app.wasm"'
rewritten "in the working directory" "$(plain '["./app.wasm"]' ',"cwd":"/data/.."' | sed 's/"cwd":"\/",//')" '"--env","PWD=/data/.."'
rewritten "limits" "$(plain "$module" '' '' ',"linux":{"resources":{"memory":{"limit":134217728}}},"annotations":{"husk.timeout":"1.5s","husk.stack":"2M","husk.listen":"0.0.0.0:80","husk.max-open":"9","husk.unknown-imports":"trap"}')" \
    '"--timeout","1.5s","--stack","2M","--listen","0.0.0.0:80","--max-open","9","--unknown-imports","trap"' '"memory":{"limit":134217728}' '"--max-memory","119'
rewritten "an annotated memory limit" "$(plain "$module" '' '' ',"annotations":{"husk.max-memory":"64M"}')" '"--max-memory","67108864"'
rewritten "no memory limit" "$(plain "$module" '' '' ',"linux":{"resources":{"memory":{"limit":9223372036854771712}}}')"
same "no memory limit" "$(grep -c max-memory <<<"$new")" 0
rewritten "numbers stay what they are" "$(plain "$module" ',"rlimits":[{"type":"RLIMIT_CORE","hard":18446744073709551615,"soft":9007199254740993}],"x":1.50,"-9223372036854775809":[-9223372036854775808,1e99]' '')" \
    '"hard":18446744073709551615,"soft":9007199254740993' '"x":1.50,"-9223372036854775809":[-9223372036854775808,1e99]'
rewritten "names and unknown members stay" "$(plain "$module" ',"apparmorProfile":"é\u0001/","zzz":[1,{"a":null}]')" '"apparmorProfile":"é\u0001/"' '"zzz":[1,{"a":null}]'
awk 'BEGIN {
    printf "{\"process\":{\"args\":[\"/app.wasm\"],\"env\":[\"A=0\""
    for (i = 0; i < 1200000; i++) printf ",\"A\""
    for (i = 1; i < 300000; i++) printf ",\"B%d=\",\"C%d=2\"", i, i
    printf "]},\"root\":{\"path\":\"rootfs\"}}"
}' >"$scratch/large.json"
new_bundle
cp "$scratch/large.json" "$bundle/config.json"
begin=$(date +%s)
timeout -s KILL 50 "$oci" create --bundle "$bundle" id
same "two million rows of env: exit code" $? 7
contains "two million rows of env: rows without a value are gone, in their order" "$(grep -o '"env":.\{60\}' "$bundle/config.json")" '"env":["A=0","B1=","C1=2","B2=",'
check "two million rows of env: in seconds" test $(($(date +%s) - begin)) -lt 40
rewritten "the device is there once" "$(plain "$module" '' '' ',"linux":{"devices":[{"path":"/dev/kvm","type":"c","major":1,"minor":2},{"path":"/dev/fuse"}]}')" '"devices":[{"path":"/dev/fuse"},{"path":"/dev/kvm","type":"c","major":10'

# ---- mounts: the guest sees volumes, and nothing of the kernel's ----
new_bundle
printf '\0asm\1\0\0\0' >"$bundle/volume/v.wasm"
: >"$bundle/log"
ln -s /data "$bundle/rootfs/link"
config "$(plain '["/link/new/v.wasm"]' '' '' ',"mounts":[{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/dev","type":"tmpfs","source":"tmpfs"},
{"destination":"/sys","type":"bind","source":"/sys","options":["rbind"]},{"destination":"/x/proc","type":"proc","source":"proc"},{"destination":"/dev/null2","type":"bind","source":"/dev/null"},
{"destination":"/link/new","type":"bind","source":"'"$bundle"'/volume","options":["rbind","ro"]},{"destination":"/dev/log","source":"log","options":["bind"]},{"destination":"/tmp//./x/","type":"tmpfs","source":"tmpfs"}]')"
create
same "mounts: exit code" "$code" 7
new=$(cat "$bundle/config.json")
for part in '{"destination":"/proc",' '{"destination":"/dev",' '{"destination":"/sys",' '{"destination":"/x/proc",' '{"destination":"/dev/null2",' \
    '{"destination":"/rootfs/data/new","type":"bind","source":"'"$bundle"'/volume","options":["rbind","ro"]}' '{"destination":"/rootfs/dev/log",' '{"destination":"/rootfs/tmp/x",' \
    '"--","/program.husk"'; do
    contains "mounts" "$new" "$part"
done
check "mounts: places are made in the root" test -d "$bundle/rootfs/data/new" -a -f "$bundle/rootfs/dev/log" -a -d "$bundle/rootfs/tmp/x"
new_bundle
ln -s / "$bundle/rootfs/out"
config "$(plain "$module" '' '' ',"mounts":[{"destination":"/out/'"${scratch#/}"'/escaped","type":"tmpfs","source":"tmpfs"},{"destination":"/../../'"${scratch#/}"'/escaped2","type":"tmpfs","source":"tmpfs"}]')"
create
check "links and dots do not lead out of the root" test ! -e "$scratch/escaped" -a ! -e "$scratch/escaped2" -a -d "$bundle/rootfs/$scratch/escaped" -a -d "$bundle/rootfs/$scratch/escaped2"

# ---- what is masked or read-only is so where the guest sees it ----
new_bundle
mkdir "$bundle/rootfs/etc"
ln -s /etc "$bundle/rootfs/settings"
: >"$bundle/rootfs/etc/keys"
config "$(plain "$module" '' '' ',"mounts":[{"destination":"/v","type":"bind","source":"'"$bundle"'/volume","options":["rbind"]}],
"linux":{"maskedPaths":["/proc/kcore","/settings/keys","/none/../etc/./no"],"readonlyPaths":["/proc/sys","/sys/x","data/","/v/sub","/"]}')"
create
same "masked: exit code" "$code" 7
new=$(cat "$bundle/config.json")
contains "masked" "$new" '"maskedPaths":["/proc/kcore","/settings/keys","/none/../etc/./no","/rootfs/etc/keys","/rootfs/etc/no"]'
contains "read-only paths" "$new" '"readonlyPaths":["/proc/sys","/sys/x","data/","/v/sub","/","/rootfs/data","/rootfs/v/sub","/rootfs"]'
refused "a masked path of another type" "$(plain "$module" '' '' ',"linux":{"maskedPaths":[7]}')" "maskedPaths has a row that is not a string"

# ---- configs as containerd 1.6 and Podman 4.3 wrote them (tests/cli/oci), with folders of the test in the place of theirs ----
engine() { # NAME: $new is what becomes of its config, $given what it was
    new_bundle
    mkdir -p "$bundle/files/shm" "$bundle/rootfs"
    : >"$bundle/files/hosts"
    cp "$bundle/rootfs/bin/native" "$bundle/rootfs/busybox"
    given=$(sed "s|@BUNDLE@|$bundle|g" "$HUSK_SOURCE/tests/cli/oci/$1.json")
    config "$given"
    create
    same "$1: the runtime's exit code" "$code" 7
    new=$(cat "$bundle/config.json")
}
kept() { # NAME PART…: parts of the old config are in the new one
    local name=$1 part
    shift
    for part in "$@"; do
        contains "$name: it was there" "$given" "$part"
        contains "$name: it stays" "$new" "$part"
    done
}
engine containerd-pause
same "containerd's pause container is untouched" "$new" "$given"
engine containerd-cri
kept containerd '"user":{"uid":65534,"gid":0,"additionalGids":[0]}' '"cpu":{"quota":50000,"period":100000}' '"memory":{"limit":67108864,"swap":67108864}' '"oomScoreAdj":0' \
    '{"type":"network","path":"/proc/13098/ns/net"}' '{"destination":"/sys/fs/cgroup","type":"cgroup"' '{"allow":false,"access":"rwm"}' '"io.kubernetes.cri.container-type":"container"'
for part in '"--timeout","20s"' '"--env","WHO"' '"destination":"/rootfs/config","type":"bind","source":"'"$bundle"'/volume","options":["rbind","rprivate","ro"]' \
    '"destination":"/rootfs/etc/hosts"' '"destination":"/rootfs/dev/shm","type":"bind"' '"options":["rbind","ro","nosuid","nodev"]' '"--max-memory","53' \
    '"--","/program.husk","cat","/config/file","env","write","/config/new","exit","3"]'; do
    contains "containerd" "$new" "$part"
done
engine podman
kept podman '{"type":"RLIMIT_NPROC","hard":1000,"soft":1000}' '"pids":{"limit":2048}' '"org.opencontainers.image.stopSignal":"15"'
for part in '"root":{"path":"husk-root","readonly":true}' '"destination":"/rootfs","type":"bind","source":"'"$bundle"'/rootfs","options":["rbind","rw"' \
    '"destination":"/rootfs/data"' '"destination":"/rootfs/run/.containerenv"' '"--env","container"'; do
    contains "podman" "$new" "$part"
done
same "podman: the seccomp profile stays" "$(grep -oE '"seccomp":.*\}\]' <<<"$new" | cut -c 1-6000)" "$(grep -oE '"seccomp":.*\}\]' <<<"$given" | cut -c 1-6000)"

# ---- images ----
new_bundle
"$husk" compile "$bundle/rootfs/app.wasm" -o "$bundle/rootfs/bin/app" >/dev/null
config "$(plain '["/bin/app"]')"
create
contains "an image is run where it is" "$(cat "$bundle/config.json")" '"--","/rootfs/bin/app"'
head -c 3000 "$bundle/rootfs/bin/app" >"$bundle/rootfs/bad.husk"
config "$(plain '["/bad.husk"]')"
refused_now "a damaged image" 'bad.husk'
HUSK_OCI_CACHE=$scratch/file/no
: >"$scratch/file"
rewritten "a cache that cannot be written" "$(plain "$module")" '"--","/program.husk"'
check "the image is in the bundle" cmp -s -n 4 "$bundle/husk-root/program.husk" /bin/true
HUSK_OCI_CACHE=$scratch/cache

# ---- what is passed through ----
untouched "a native program" "$(plain '["/bin/native"]' '' '' ',  "annotations":{"module.wasm.image/variant":"compat","run.oci.handler":"wasm"}')"
untouched "a script" "$(plain '["script"]' ',"env":["PATH=/bin"]')"
untouched "a program that is not there" "$(plain '["/no"]')"
untouched "numbers and blanks" "$(plain '["/bin/native"]' ',  "rlimits":[{"hard":18446744073709551615}]')"
for command in "state id" "start id" "kill id 9" "delete --force id" "list" "--version" "exec id sh" "exec -e A=1 --process p id sh" "exec --pidfd-socket wasm id sh"; do
    rm -f "$scratch/words"
    # shellcheck disable=SC2086
    "$oci" $command >/dev/null
    same "$command: exit code" $? 7
    same "$command" "$(tr '\n' ' ' <"$scratch/words")" "$command "
done
rm -f "$scratch/words"
out=$("$oci" --log "$scratch/elog" exec --user 0 -t -e A=b wasm sh -c 'exit 3' 2>&1)
same "exec in a wasm container: exit code" $? 255
contains "exec in a wasm container" "$out" "exec is not possible in a wasm container"
check "exec in a wasm container: the log" grep -q '^time="20.*level=error msg="exec is not possible' "$scratch/elog"
same "exec in a wasm container: the runtime was only asked" "$(tr '\n' ' ' <"$scratch/words")" "state wasm "

# ---- what is refused ----
refused "no process" '{"root":{"path":"rootfs"}}' "no process"
refused "no args" '{"process":{"cwd":"/"},"root":{"path":"rootfs"}}' "no process.args"
refused "empty args" "$(plain '[]')" "no process.args"
refused "args of another type" "$(plain '{}')" "process.args is not an array"
refused "a row of another type" "$(plain '["/app.wasm",3]')" "process.args has a row that is not a string"
refused "env of another type" "$(plain "$module" ',"env":"A=1"')" "process.env is not an array"
refused "no root" '{"process":{"args":["/app.wasm"]}}' "no root.path"
refused "root of another type" '{"process":{"args":["/app.wasm"]},"root":"rootfs"}' "root is not an object"
refused "no such root" '{"process":{"args":["/app.wasm"]},"root":{"path":"none"}}' "No such file"
refused "a root above the bundle" '{"process":{"args":["/app.wasm"]},"root":{"path":".."}}' "cannot open root.path"
refused "mounts of another type" "$(plain "$module" '' '' ',"mounts":{}')" "mounts is not an array"
refused "a mount of another type" "$(plain "$module" '' '' ',"mounts":[3]')" "not an object"
refused "a mount without a destination" "$(plain "$module" '' '' ',"mounts":[{"type":"bind","source":"/"}]')" "no destination"
refused "a long destination" "$(plain "$module" '' '' ',"mounts":[{"source":"/","destination":"'"$(head -c 9000 /dev/zero | tr '\0' /)"'"}]')" "4096 bytes"
refused "two members of one name" '{"process":{"args":["/bin/native"]},"process":{"args":["/app.wasm"]},"root":{"path":"rootfs"}}' "two members of the same name"
refused "a name in another case" '{"process":{"args":["/bin/native"],"Args":["/app.wasm"]},"root":{"path":"rootfs"}}' "process.args is written 'Args'"
refused "a name with a long s" '{"process":{"args":["/bin/native"],"argſ":["/app.wasm"]},"root":{"path":"rootfs"}}' "process.args is written 'argſ'"
refused "a name with a sign for kelvin" "$(plain "$module" '' '' ',"linux":{"maſKedPathſ":["/"]}' | sed 's/K/K/')" "linux.maskedPaths is written"
refused "a large number" "$(plain "$module" '' '' ',"x":[1,-9223372036854775808,18446744073709551616]')" "more than 64 bits"
refused "a small number" "$(plain "$module" '' '' ',"x":{"y":-9223372036854775809}')" "more than 64 bits"
refused "a NUL" "$(plain '["/app.wasm\u0000x"]')" "NUL"
refused "not JSON" '{"process":' "not JSON"
refused "empty" '' "not JSON"
refused "an array" '[]' "not a JSON object"
refused "more behind it" "$(plain "$module") x" "not"
refused "no UTF-8" "$(plain "$(printf '["/app.wasm\xff"]')")" "not JSON"
refused "deep" "$(plain "$module" '' '' ",\"x\":$(head -c 100000 /dev/zero | tr '\0' '[')")" "not JSON"
refused "a limit that is too low" "$(plain "$module" '' '' ',"linux":{"resources":{"memory":{"limit":4194304}}}')" "is too low"
refused "a limit of another type" "$(plain "$module" '' '' ',"linux":{"resources":{"memory":{"limit":"4G"}}}')" "not a whole number"
refused "a misspelt annotation" "$(plain "$module" '' '' ',"annotations":{"husk.time":"1s"}')" "no annotation husk.time"
refused "a bad annotation" "$(plain "$module" '' '' ',"annotations":{"husk.timeout":"soon"}')" "husk.timeout wants a time"
refused "an option in an annotation" "$(plain "$module" '' '' ',"annotations":{"husk.listen":"--dir=/"}')" "husk.listen wants an address"
refused "the mark of another" "$(plain "$module" '' '' ',"annotations":{"husk.oci":"1"}')" "husk-oci's own"
refused "no such module" "$(plain '["/no.wasm"]')" "cannot open /no.wasm"
new_bundle
echo text >"$bundle/rootfs/t.wasm"
config "$(plain '["/t.wasm"]')"
refused_now "a text with the name of a module" "neither a wasm module nor an image"
config "$(plain '["/t2"]' '' '' ',"annotations":{"run.oci.handler":"wasm"}')"
echo text >"$bundle/rootfs/t2"
refused_now "a text in a container that is annotated" "neither a wasm module nor an image"
printf '\0asm\1\0\0\0junk' >"$bundle/rootfs/t.wasm"
config "$(plain '["/t.wasm"]')"
refused_now "a broken module" "while compiling /t.wasm"
mkdir "$bundle/rootfs/d.wasm"
config "$(plain '["/d.wasm"]')"
refused_now "a folder" "Is a directory"
mkfifo "$bundle/rootfs/f.wasm"
config "$(plain '["/f.wasm"]')"
refused_now "a pipe" "cannot open /f.wasm"
ln -s "$bundle/rootfs/app.wasm" "$bundle/rootfs/l.wasm"
config "$(plain '["/l.wasm"]')"
refused_now "a link that leads out" "cannot open /l.wasm"
new_bundle
plain "$module" >"$scratch/outside.json"
ln -s "$scratch/outside.json" "$bundle/config.json"
refused_now "a config that is a link" "is a symbolic link"
rm "$bundle/config.json"
refused_now "no config" "cannot open"
mkfifo "$bundle/config.json"
refused_now "a config that is a pipe" "is not a file"
new_bundle
config "$(plain "$module")"
mkdir "$scratch/elsewhere"
ln -s "$scratch/elsewhere" "$bundle/husk-root"
refused_now "a folder of ours that is a link" "cannot make the folder"
same "nothing was made elsewhere" "$(ls "$scratch/elsewhere")" ""
new_bundle
{ plain "$module" | head -c -1; printf ',"x":"'; head -c 17000000 /dev/zero | tr '\0' x; printf '"}'; } >"$bundle/config.json"
refused_now "a large config" "larger than 16 MiB"
if [ "$(id -u)" != 0 ]; then
    new_bundle
    config "$(plain "$module")"
    chmod 500 "$bundle"
    refused_now "a bundle that cannot be written" "Permission denied"
    chmod 700 "$bundle"
fi
bundle=$scratch/none
refused_now "no bundle" "cannot open the bundle"

# ---- settings ----
new_bundle
config "$(plain "$module")"
echo 'memory-reserv = 1M' >"$HUSK_OCI_CONF"
refused_now "a setting that does not exist" "line 1: there is no setting 'memory-reserv'"
printf '# c\n\n level = 7\n' >"$HUSK_OCI_CONF"
refused_now "a bad setting" "line 3: '7' is not possible for level"
"$oci" delete id
same "wrong settings do not keep containers from ending" $? 7
printf 'level = 0\nhusk = /none\n' >"$HUSK_OCI_CONF"
refused_now "no husk" "cannot use /none"
: >"$HUSK_OCI_CONF"
HUSK_OCI_RUNTIME=$oci
refused_now "husk-oci as its own runtime" "or this one"
HUSK_OCI_RUNTIME=no-such-runtime
refused_now "no runtime" "is not in PATH"
HUSK_OCI_RUNTIME=$scratch/runtime
contains "help" "$("$oci" --help)" "usage: husk-oci"
finish
