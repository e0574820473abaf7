# tests/cli/cache_test.sh: husk run finds the image of a file that it has seen without reading that, and takes no other one for it.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
in_scratch
need_wat2wasm
for number in 1 2; do
    echo "(module (func (export \"f\") (result i32) i32.const $number))" >"$number.wat"
    wat2wasm "$number.wat" -o "$number.wasm"
done
run() { # what f returns, and by what the image came
    "$husk" run --stats --invoke f m.wasm 2>stats
    grep -o "load from the cache\|compile " stats
}
compiled=$'1:i32\ncompile '
cached=$'1:i32\nload from the cache'
cached2=$'2:i32\nload from the cache'
cp 1.wasm m.wasm
same "a new module" "$(run)" "$compiled"
same "again at once" "$(run)" "$cached"
same "no note of a file that is so new" "$(ls cache | grep -c seen)" 0
sleep 5
same "later" "$(run)" "$cached"
same "a note" "$(ls cache | grep -c seen)" 1
same "by the note" "$(run)" "$cached"
chmod 000 m.wasm # root may read it all the same
[ "$(id -u)" = 0 ] || same "a file that may not be read" "$("$husk" run --invoke f m.wasm >/dev/null 2>&1; echo $?)" 125
chmod 600 m.wasm
same "the same contents with other times" "$(run)" "$cached"

touch -r m.wasm times
cat 2.wasm >m.wasm # the same file, of the same size
touch -r times m.wasm
same "other contents" "$(run)" $'2:i32\ncompile '
cp -p 1.wasm other
mv other m.wasm
same "another file in its place" "$(run)" "$cached"
cat 2.wasm >m.wasm
sleep 5
run >/dev/null
same "noted again" "$(run)" "$cached2"
same "one note for each file" "$(ls cache | grep -c seen)" 2

images=(cache/*.husk)
for image in "${images[@]}"; do
    printf x | dd of="$image" bs=1 seek=5000 conv=notrunc 2>/dev/null
done
same "a damaged image is made anew" "$(run)" $'2:i32\ncompile '
same "and found again" "$(run)" "$cached2"
chmod 666 cache/*.husk
same "an image that others may write" "$(run)" "$cached2"
truncate -s 1000 cache/*.husk
same "an image that was cut off" "$(run)" $'2:i32\ncompile '
for note in cache/*.seen; do echo garbage >"$note"; done
same "garbage as a note" "$(run)" "$cached2"
for note in cache/*.seen; do rm "$note"; mkdir "$note"; done
same "a folder as a note" "$(run)" "$cached2"
same "--no-cache" "$("$husk" run --no-cache --stats --invoke f m.wasm 2>&1 | grep -o 'compile ')" "compile "
same "from standard input" "$("$husk" run --invoke f - <m.wasm)" 2:i32
same "from a pipe" "$(cat m.wasm | "$husk" run --invoke f -)" 2:i32
# More than is read to see what it is. The program prints what it reads from its standard input.
cat >echo.wat <<WAT
(module (import "wasi_snapshot_preview1" "fd_read" (func \$read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func \$write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 3) (data (i32.const 100) "$(head -c 100000 /dev/zero | tr '\0' m)")
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 131072)) (i32.store (i32.const 4) (i32.const 65536))
        (drop (call \$read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
        (drop (call \$write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
WAT
wat2wasm echo.wat -o echo.wasm
"$husk" compile echo.wasm -o echo.husk
same "what the program reads" "$(echo hello | "$husk" run echo.wasm | tr -d '\0')" hello
sleep 4
for how in compiled cached "by the note"; do
    same "a module is not its own input: $how" "$("$husk" run - <echo.wasm | tr -d '\0' | wc -c)" 0
done
same "nor is an image" "$("$husk" run - <echo.husk | tr -d '\0' | wc -c)" 0
cat 1.wat 1.wasm >both
same "from standard input that was read in part" "$({ dd bs="$(stat -c %s 1.wat)" count=1 >/dev/null 2>&1; "$husk" run --invoke f -; } <both)" 1:i32

# ---- a disk that has lost a part of an image ----
if [ "$(id -u)" = 0 ] && truncate -s 64M disk && mkfs.ext4 -q disk 2>/dev/null && mkdir mounted && mount -o loop disk mounted 2>/dev/null; then
    export HUSK_CACHE_DIR=$scratch/mounted/cache
    # rather large: what is behind its first part is lost
    "$husk" run echo.wasm </dev/null >/dev/null
    same "a note on that disk" "$(ls mounted/cache | grep -c seen)" 1
    images=(mounted/cache/*.husk)
    dd of="${images[0]}" oflag=nocache conv=notrunc,fdatasync count=0 2>/dev/null
    sync -f mounted
    start=$(LC_ALL=C grep -abo -m 1 -P '\x7fELF' disk | head -n 1 | cut -d : -f 1)
    truncate -s $((start + 40960)) disk
    check "the disk has lost a part" sh -c '! cat "$1" >/dev/null 2>&1' - "${images[0]}"
    same "what is lost is made anew" "$(echo hello | "$husk" run --stats echo.wasm 2>stats | tr -d '\0'; grep -o 'compile ' stats)" $'hello\ncompile '
    umount mounted
else
    skip "a disk that has lost a part of an image" "no right to mount one"
fi
finish
