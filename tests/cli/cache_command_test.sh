# tests/cli/cache_command_test.sh: husk cache lists, measures, bounds and cleans the folder of compiled modules, and nothing else there.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
export HUSK_CACHE_DIR=$scratch/cache TZ=UTC
cd "$scratch" || exit 1

# run NAME CODE ARGUMENT…: husk cache; $out and $err are what it printed.
run() {
    local name=$1 expected=$2 code
    shift 2
    "$husk" cache "$@" >"$scratch/out" 2>"$scratch/err" </dev/null
    code=$?
    out=$(cat "$scratch/out")
    err=$(cat "$scratch/err")
    same "$name: exit code" "$code" "$expected"
}

# ---- a folder that does not exist ----
run "no folder" 0
same "no folder" "$out" "0 B of at most 5 GiB: 0 images in $scratch/cache"
run "no folder, JSON" 0 --json
same "no folder, JSON" "$out" "{\"path\":\"$scratch/cache\",\"bytes\":0,\"limit\":5368709120,\"images\":0,\"notes\":0,\"unfinished\":0,\"list\":[]}"
run "no folder, clean" 0 clean --all
same "no folder, clean" "$out" "removed 0 files, 0 B; 0 files, 0 B, are left"
check "nothing was made" test ! -e cache
run "path" 0 path
same "path" "$out" "$scratch/cache"
HUSK_CACHE_DIR=$scratch/out run "a folder that is a file" 125
contains "a folder that is a file" "$err" "Not a directory"

# ---- the limit ----
run "set a limit" 0 limit 100K
run "the limit" 0 limit
same "the limit" "$out" "100 KiB"
HUSK_CACHE_LIMIT=2G run "the limit of the environment" 0 limit --json
same "the limit of the environment" "$out" '{"limit":2147483648}'
HUSK_CACHE_LIMIT=default run "no limit of the environment" 0 limit --json
same "no limit of the environment" "$out" '{"limit":102400}'
HUSK_CACHE_LIMIT=much run "a limit that is none" 2
contains "a limit that is none" "$err" "HUSK_CACHE_LIMIT is not understood"
run "no limit" 0 limit none
run "no limit" 0 size
contains "no limit" "$out" "of no limit: 0 images"
run "no limit, JSON" 0 limit --json
same "no limit, JSON" "$out" '{"limit":null}'
for size in 0 x -1 1T 1e30G ''; do
    run "limit '$size'" 2 limit "$size"
done
run "two limits" 2 limit 1G 2G
run "an unknown verb" 2 empty
run "options of clean" 2 list --all
run "a bad age" 2 clean --older 0
run "a bad age" 2 clean --older 1.5
run "a bad size" 2 clean --to x
run "an unknown option" 2 clean --force
run "the usual limit" 0 limit default
check "the usual limit" test ! -e cache/husk-cache.limit

# ---- files ----
key() { # DIGIT: of an image
    printf "$1%.0s" $(seq 64)
}
file() { # NAME KIB DAYS: last used so many days ago
    head -c $(($2 * 1024)) /dev/zero | tr '\0' x >"cache/$1"
    sync "cache/$1"
    touch -d "$3 days ago" "cache/$1"
}
images() { # how many there are
    find cache -name '*.husk' | wc -l
}
fill() {
    rm -rf cache && mkdir cache
    for digit in 1 2 3 4 5; do
        file "$(key $digit).husk" 16 $((10 * digit - 5))
    done
    file notes.txt 16 100
}
fill
run "list" 0
same "list: order" "$(cut -c 1 out | xargs)" "K 1 2 3 4 5 8"
contains "list" "$out" "KEY                 SIZE  LAST USED"
contains "list" "$out" "111111111111      16 KiB  $(date -d '5 days ago' +%Y-%m-%d) "
contains "list: not readable" "$out" "(not readable by this husk)"
contains "list: sum" "$out" "80 KiB of at most 5 GiB: 5 images in $scratch/cache"
run "clean --older" 0 clean --older 40
same "clean --older, and what is not readable" "$(images)" 0
fill
run "clean --to" 0 clean --to 40K --json
same "clean --to" "$out" '{"removed":5,"removed_bytes":81920,"left":0,"left_bytes":0,"failed":0}'
check "a foreign file" test -e cache/notes.txt

# ---- with images ----
if ! command -v wat2wasm >/dev/null || ! [ -x "$HUSK_BUILD/husk-compile-worker" ]; then
    skip "images" "no wat2wasm (package wabt), or built without the compiler"
    finish
fi
if ! command -v objdump >/dev/null; then
    skip "images" "no objdump, for which husk inspect compiles"
    finish
fi
rm -rf cache
for number in 1 2 3 4; do
    printf '(module $module_%s (func (export "f") (result i32) i32.const %s))' $number $number >"$number.wat"
    wat2wasm --debug-names "$number.wat" -o "$number.wasm"
done
compile() { # NUMBER: into the cache, by a command that needs no KVM; from a pipe, of which there are no notes
    cat "$1.wasm" | "$husk" inspect --asm - >/dev/null 2>err
}
order() { # the numbers of the modules, from the last used one
    "$husk" cache --json | grep -o '"name":"module_.' | cut -d _ -f 2 | xargs
}
age() { # DAYS: all that is new
    find cache -name '*.husk' -newermt '1 day ago' -exec touch -d "$1 days ago" {} +
}
for number in 1 2 3; do
    compile $number
    age $((40 - 10 * number))
done
same "images: order" "$(order)" "3 2 1"
run "images" 0
same "images: names" "$(grep -o 'module_.' out | xargs)" "module_3 module_2 module_1"
contains "images: level" "$out" "  -O2  "
bytes=$(du -cB1 cache/*.husk | tail -n 1 | cut -f 1)
run "images: JSON" 0 --json
contains "images: JSON" "$out" '"level":2,"strict":false,"cpu":"'
contains "images: JSON" "$out" "\"sha256\":\"$(sha256sum 3.wasm | cut -c 1-64)\",\"name\":\"module_3\""
contains "images: bytes" "$out" "\"bytes\":$bytes,\"limit\""
check "images: JSON is JSON" python3 -c 'import json, sys; assert len(json.load(open(sys.argv[1]))["list"]) == 3' out
run "clean: nothing to do" 0 clean
contains "clean: nothing to do" "$out" "removed 0 files"
same "a hit" "$(compile 1 && cat err)" ""
same "a hit makes younger" "$(order)" "1 3 2"
run "by age" 0 clean --older 15
contains "by age" "$out" "removed 1 files"
same "by age" "$(order)" "1 3"
run "to a size" 0 clean --to $((bytes / 3 + 100))
same "to a size" "$(order)" "1"
run "limit, which cleans" 0 limit 4096
same "limit, which cleans" "$(images)" 0

# ---- the limit when something is stored ----
compile 1
contains "beyond the limit" "$(cat err)" "more than the limit of the cache, 4096"
same "beyond the limit" "$(images)" 0
one=$((bytes / 3))
HUSK_CACHE_LIMIT=$((2 * one)) compile 1
age 5
HUSK_CACHE_LIMIT=$((2 * one)) compile 2
age 4
same "up to the limit" "$(order)" "2 1"
HUSK_CACHE_LIMIT=$((2 * one)) compile 3
same "above the limit" "$(order)" "3"
HUSK_CACHE_LIMIT=many compile 4
contains "a limit that is not understood" "$(cat err)" "warning: HUSK_CACHE_LIMIT is not understood"
same "a limit that is not understood: the folder's" "$(order)" "3"
run "all" 0 clean --all
same "all" "$(images)" 0
check "all: the limit stays" test -e cache/husk-cache.limit

# ---- names of files, and names that hide something ----
run "default" 0 limit default
folder=$(printf 'fol\033[31mder')
mkdir "$folder"
cp 1.wasm "$folder/m.wasm"
sleep 5 # SETTLED_SECONDS
"$husk" inspect --asm "$folder/m.wasm" >/dev/null
if ls cache/*.seen >/dev/null 2>&1; then
    run "a file's name" 0
    contains "a file's name" "$out" 'fol\1b[31mder/m.wasm'
    run "a file's name, JSON" 0 --json
    contains "a file's name, JSON" "$out" '"file":"'"$scratch"'/fol\u001b[31mder/m.wasm"'
else
    skip "a file's name" "the scratch folder's file system is none whose files are noted"
fi

# ---- who runs from an image keeps it ----
if [ -w /dev/kvm ]; then
    wat2wasm - -o wait.wasm <<'WAT'
(module (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 64))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))) (call $exit (i32.const 7))))
WAT
    for how in compiled cached; do
        mkfifo pipe
        "$husk" run wait.wasm <pipe &
        exec 5>pipe
        for _ in $(seq 200); do [ "$(images)" != 0 ] && break; sleep 0.05; done
        sleep 0.3
        run "clean while it runs" 0 clean --all
        echo >&5
        exec 5>&-
        wait $!
        same "it runs on: $how" $? 7
        rm pipe
        [ $how = cached ] || "$husk" run wait.wasm </dev/null >/dev/null
    done
else
    skip "who runs from an image keeps it" "no /dev/kvm"
fi

# ---- a full disk, and a read-only one ----
if [ "$(id -u)" = 0 ] && mkdir mounted && mount -t tmpfs -o size=128k none mounted 2>/dev/null; then
    export HUSK_CACHE_DIR=$scratch/mounted
    for number in 1 2 3 4 1 2 3 4; do
        compile $number
        same "a full disk: module $number" "$(cat err)" ""
        find mounted -name '*.husk' -newermt '1 day ago' -exec touch -d "$((20 - number)) days ago" {} +
        head -c 40000 /dev/zero >"mounted/0$number$(key 0 | cut -c 3-).husk" 2>/dev/null
        touch -d "30 days ago" mounted/0*.husk
    done
    contains "a full disk: the newest is there" "$(order)" 4
    mount -o remount,ro mounted
    run "a read-only disk" 0
    run "a read-only disk, clean" 125 clean --all
    contains "a read-only disk, clean" "$err" "Read-only file system"
    compile 4
    same "a read-only disk: a hit" "$(cat err)" ""
    umount mounted
else
    skip "a full disk, and a read-only one" "no right to mount one"
fi
finish
