# tests/cli/listen_test.sh: husk run --listen: addresses, ports that the kernel chooses, a program that answers, and what is left after it.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
in_scratch
need_kvm
need_wat2wasm
cat >echo.wat <<'WAT'
(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "\00\01\00\00\00\01\00\00") ;; 256 bytes at 256
  (func $check (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
  (func $serve (param $listener i32)
    (call $check (call $accept (local.get $listener) (i32.const 0) (i32.const 0)))
    (call $check (call $recv (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 0) (i32.const 12) (i32.const 16)))
    (call $check (call $send (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 0) (i32.const 32))))
  (func (export "_start") (call $serve (i32.const 3)))
  (func (export "fourth") (call $serve (i32.const 4))))
WAT
wat2wasm echo.wat -o echo.wasm && "$husk" compile echo.wasm -o echo.husk || exit 1

# At most 30 s. FILE is new for each program: an older one would still have what the last program said.
wait_for_text() { # FILE TEXT
    local i
    for ((i = 0; i < 3000; i++)); do
        grep -q "$2" "$1" 2>/dev/null && return 0
        sleep 0.01
    done
    return 1
}

answer_of() { # PORT TEXT: what the program answers
    exec 5<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf '%s' "$2" >&5
    cat <&5
    exec 5>&-
}

"$husk" run --timeout 60s --listen 127.0.0.1:0 echo.husk 2>err &
check "the port is said" wait_for_text err 'husk run: listening on 127.0.0.1:[0-9]'
port=$(sed -n 's/.*127.0.0.1://p' err)
same "an answer" "$(answer_of "$port" hello)" hello
wait $!
same "exit code" $? 0

"$husk" run --timeout 60s --listen 127.0.0.1:0 --listen 127.0.0.1:0 echo.husk --invoke fourth 2>err_two &
check "both ports are said" wait_for_text err_two 'listening on 127.0.0.1:[0-9]*$'
for ((i = 0; i < 3000; i++)); do
    [ "$(grep -c listening err_two)" != 2 ] || break
    sleep 0.01
done
same "the second listener is the next descriptor" "$(answer_of "$(sed -n '2s/.*127.0.0.1://p' err_two)" world)" world
wait $!

# A snapshot that was taken without a listener gets one.
"$husk" snapshot echo.wasm -o ready.husk || exit 1
"$husk" run --timeout 60s --listen 127.0.0.1:0 ready.husk 2>err_ready &
check "a snapshot: the port is said" wait_for_text err_ready 'listening on'
same "a snapshot answers" "$(answer_of "$(sed -n 's/.*127.0.0.1://p' err_ready)" again)" again
wait $!

# A program that stands at its listener gets another one there.
"$husk" snapshot echo.wasm --listen 127.0.0.1:0 --until wasi_snapshot_preview1.sock_accept -o warm.husk 2>err || exit 1
for text in one two; do
    "$husk" run --timeout 60s --listen 127.0.0.1:0 warm.husk 2>err_warm_$text &
    check "a warm program: the port is said" wait_for_text err_warm_$text 'listening on'
    same "a warm program answers" "$(answer_of "$(sed -n 's/.*127.0.0.1://p' err_warm_$text)" $text)" $text
    wait $!
done
"$husk" run warm.husk 2>err
same "a warm program without a listener: EBADF" $? 8

"$husk" run --timeout 300ms --listen 127.0.0.1:0 echo.husk 2>err
same "a limit ends the wait for somebody" $? 124
"$husk" run echo.husk 2>err
same "without a listener: EBADF" $? 8

# A socket in a folder: there as long as husk listens, and not replaced.
"$husk" run --timeout 2s --listen "unix:$scratch/socket" echo.husk 2>err &
for ((i = 0; i < 3000; i++)); do
    [ ! -S socket ] || break
    sleep 0.01
done
check "a socket in a folder" test -S socket
"$husk" run --listen "unix:$scratch/socket" echo.husk 2>err2
same "one that is in use: exit code" $? 125
contains "one that is in use" "$(cat err2)" "--listen unix:$scratch/socket: Address already in use"
check "it is still there" test -S socket
wait
check "it is removed" test ! -e socket

for wrong in 8080 localhost:80 127.0.0.1 127.0.0.1:65536 127.0.0.1:-1 '127.0.0.1: 1' :80 '[::1]' '::1' '[::1]80' unix: \
    "unix:$(printf '%0200d' 0)"; do
    "$husk" run --listen "$wrong" echo.husk 2>err
    same "--listen $wrong: exit code" $? 2
    contains "--listen $wrong" "$(cat err)" "--listen wants ADDRESS:PORT"
done
finish
