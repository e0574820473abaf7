# tests/apps/lua_suite_test.sh: Lua 5.4.8's own test suite, with pcall() by setjmp() and longjmp(), in both encodings of exceptions. Its
# portable part, without the tests of Lua's C functions, which want an interpreter that is built for them.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest lua_suite_exnref
suite_dir=$HUSK_BUILD/guest-src/lupa-2.8-source/third-party/lua54/testes

# These stop, natively not. Debian's wasi-libc opens a directory for the name "", has no temporary file without a name, and takes any
# locale's name: attrib.lua, files.lua and literals.lua find that after most of their tests.
declare -A stops=([attrib.lua]="attrib.lua:33: assertion failed!" [files.lua]="files.lua:772: assertion failed!"
    [literals.lua]="literals.lua:298: assertion failed!")

lua() { # FILE
    "$husk" run --env PATH=/bin --stack 16M --timeout 60s --dir mem::/tmp --dir "$suite_dir::/::cow" "$guest" \
        -e "_port = true; _soft = true; _nomsg = true" "$1" >"$scratch/out" 2>&1
}

for encoding in exnref legacy; do
    need_guest "lua_suite_$encoding"
    count=0
    for path in "$suite_dir"/*.lua; do
        file=${path##*/}
        case $file in all.lua | heavy.lua) continue ;; esac # what runs the others, and what fills all memory
        lua "$file"
        status=$?
        if [ -n "${stops[$file]:-}" ]; then
            same "$encoding, $file: exit code" $status 1
            contains "$encoding, $file" "$(cat "$scratch/out")" "${stops[$file]}"
        else
            same "$encoding, $file" "$status $([ $status = 0 ] || tail -n 5 "$scratch/out")" "0 "
            count=$((count + 1))
        fi
    done
    same "$encoding: files that pass" $count 28
done
finish
