# tests/apps/threads_test.sh: programs that were built with threads and do their job with one: C11 atomics by clang, POSIX threads by a
# wasi-libc that has them, and modules of npm, which must give what their builds without threads give.
# The sysroot with threads: $WASI_SYSROOT, or that of a wasi-sdk in $WASI_SDK_PATH.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
folder=$HUSK_SOURCE/tests/apps

atomics() {
    local clang
    if ! clang=$("$HUSK_SOURCE/tools/find-llvm-tool" clang 2>&1); then
        skip "C11 atomics" "$clang"
        return
    fi
    check "C11 atomics: natively" cc -w -O1 "$folder/c/atomics.c" -o "$scratch/atomics"
    for level in -O0 -O2; do
        check "C11 atomics $level: builds" "$clang" --target=wasm32 -matomics -mbulk-memory -mthread-model posix -nostdlib $level \
            "$("$HUSK_SOURCE/tools/no-wasm-opt")" -Wl,--no-entry,--shared-memory,--import-memory,--max-memory=1048576 \
            "$folder/c/atomics.c" -o "$scratch/atomics.wasm"
        same "C11 atomics $level" "$("$husk" run --invoke run "$scratch/atomics.wasm" 100000 2>"$scratch/said")" "$("$scratch/atomics")"
        contains "C11 atomics $level: why there is no thread" "$(cat "$scratch/said")" "Husk has one thread per sandbox"
    done
}

# with_threads OUT: builds the program with POSIX threads.
with_threads() {
    local clang sysroot triple
    for sysroot in "${WASI_SYSROOT:-}" "${WASI_SDK_PATH:-/nowhere}/share/wasi-sysroot"; do
        for triple in wasm32-wasip1-threads wasm32-wasi-threads; do
            [ -f "$sysroot/lib/$triple/libc.a" ] || continue
            clang=$("$HUSK_SOURCE/tools/find-llvm-tool" clang 2>/dev/null) || clang=$WASI_SDK_PATH/bin/clang
            "$clang" --target=$triple --sysroot="$sysroot" -pthread -O2 -w "$("$HUSK_SOURCE/tools/no-wasm-opt")" \
                -Wl,--import-memory,--export-memory,--max-memory=67108864 "$folder/c/threads.c" -o "$1" && return 0
        done
    done
    skip "POSIX threads" "no wasi-libc with threads (set WASI_SYSROOT or WASI_SDK_PATH)"
    return 1
}

posix() {
    with_threads "$scratch/threads.wasm" || return
    "$husk" run "$scratch/threads.wasm" >"$scratch/out" 2>"$scratch/said"
    same "POSIX threads: exit code" $? 3
    same "POSIX threads" "$(cat "$scratch/out")" "counter 99999, wide 1869f0001869f, once 1, own 5
wait: ETIMEDOUT, in time
semaphore: 1
pthread_create: EAGAIN
pthread_create: EAGAIN
counter 99999, own 6, 1"
    same "POSIX threads: why there is no thread, once" "$(grep -c "Husk has one thread per sandbox" "$scratch/said")" 1
}

# fetch NAME VERSION: the package's folder in $package.
fetch() {
    package=$("$HUSK_SOURCE/tools/fetch-package" "$HUSK_BUILD/guest-src" npm "$1" "$2" 2>"$scratch/log") || {
        skip "$1" "$(tail -n 1 "$scratch/log")"
        return 1
    }
    package=$package/package
}

# assemble NAME OUT SED-COMMAND…
assemble() {
    local name=$1 out=$2
    shift 2
    sed -e "" "${@/#/-e}" "$folder/threads/$name.wat" >"$scratch/$out.wat"
    wat2wasm --enable-threads "$scratch/$out.wat" -o "$scratch/$out.wasm"
}

oxipng() {
    fetch @jsquash/oxipng 2.3.0 || return
    assemble oxipng_wbg wbg
    assemble oxipng one "s/@MEMORY@/17/" 's/@START@/(func $start)/'
    assemble oxipng many "s/@MEMORY@/18 16384 shared/" 's/@START@/(import "oxipng" "__wbindgen_start" (func $start))/'
    expected=$("$husk" run --unknown-imports trap --link "oxipng=$package/codec/pkg/squoosh_oxipng_bg.wasm" --invoke job "$scratch/one.wasm" 64 3)
    contains "oxipng without threads" "$expected" ":i64"
    same "oxipng with threads" "$("$husk" run --link "wbg=$scratch/wbg.wasm" --link "oxipng=$package/codec/pkg-parallel/squoosh_oxipng_bg.wasm" \
        --invoke job "$scratch/many.wasm" 64 3 2>&1)" "$expected"
}

tfjs() {
    fetch @tensorflow/tfjs-backend-wasm 4.22.0 || return
    local build=$package/wasm-out/tfjs-backend-wasm
    local start='(import "env" "thread" (func $thread (result i32)))
  (import "tfjs" "_emscripten_thread_init" (func $thread_init (param i32 i32 i32 i32 i32)))
  (func $ready (call $thread_init (call $thread) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 65536)))'
    assemble tfjs_env env
    assemble tfjs_wasi wasi
    assemble tfjs one "s/@MEMORY@/256 65536/" s/@FROM@/tfjs/ 's/@READY@/(func $ready)/'
    assemble tfjs many "s/@MEMORY@/256 65536 shared/" s/@FROM@/env/ "s/@READY@/${start//$'\n'/\\n}/"
    expected=$("$husk" run --unknown-imports trap --link "wasi_snapshot_preview1=$scratch/wasi.wasm" --link "tfjs=$build-simd.wasm" \
        --invoke job "$scratch/one.wasm" 40)
    contains "TensorFlow.js without threads" "$expected" ":i32"
    same "TensorFlow.js with threads" "$("$husk" run --link "env=$scratch/env.wasm" --link "wasi_snapshot_preview1=$scratch/wasi.wasm" \
        --link "tfjs=$build-threaded-simd.wasm" --invoke job "$scratch/many.wasm" 40 2>&1)" "$expected"
}

atomics
posix
if command -v wat2wasm >/dev/null; then
    oxipng
    tfjs
else
    skip "modules of npm" "no wat2wasm"
fi
finish
