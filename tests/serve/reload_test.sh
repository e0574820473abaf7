# tests/serve/reload_test.sh: SIGHUP and the routes file: new, changed and removed routes, files that are wrong, under load.
. "${HUSK_SOURCE:-.}/tests/serve/serve.sh"

routes() { # LINES: the routes file, as a whole
    printf '%b' "$1" >"$scratch/routes.new" && mv "$scratch/routes.new" "$scratch/routes"
}
mark=0
reload() { # TEXT [SECONDS]: waits for this text in what the log says from now on
    local i
    mark=$(wc -c <"$scratch/log")
    kill -HUP "$server"
    for ((i = 0; i < ${2:-60} * 20; i++)); do
        ! tail -c +$((mark + 1)) "$scratch/log" | grep -qaF -- "$1" || return 0
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.05
    done
    tail -c +$((mark + 1)) "$scratch/log" >&2
    return 1
}
metric() { # ROW: its value
    curl -s -m 20 "$metrics/metrics" | sed -n "s/^$1 //p"
}
eventually() { # SECONDS COMMAND…: it succeeds in time
    local i
    for ((i = 0; i < $1 * 10; i++)); do
        ! "${@:2}" || return 0
        sleep 0.1
    done
    return 1
}
are_few() { # descriptors and threads: of one worker, or a reload, there are some more
    fds=$(ls "/proc/$server/fd" | wc -l) threads=$(ls "/proc/$server/task" | wc -l)
    test "$fds" -le $((first_fds + 24)) -a "$threads" -le $((first_threads + 8))
}
nothing_is_left() { # WHAT
    eventually 20 are_few
    check "nothing is left $1: $first_fds descriptors, then $fds; $first_threads threads, then $threads" are_few
}

echo "FROM=file" >"$scratch/env"
routes "/ = $hostile --workers 2\n/keep = $hostile --env-file $scratch/env --workers 1\n/gone = $hostile --workers 1\n"
serve --routes "$scratch/routes" --metrics 127.0.0.1:0 --env COMMON=1 || finish
metrics=http://$(sed -n 's/.*listening on \(127.0.0.1:[0-9]*\)$/\1/p' "$scratch/log" | head -n 1)
get /healthz
fds=$(ls "/proc/$server/fd" | wc -l) threads=$(ls "/proc/$server/task" | wc -l)
first_fds=$fds first_threads=$threads

# ---- New, changed, removed ----

answers "a route that will be gone" "/gone/canary?g" 200 "canary g clean"
curl -s -m 30 "$url/gone/nap?3000" >"$scratch/nap" &
nap=$!
(
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST /gone/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\nConnection: close\r\n\r\n012345' >&3
    sleep 3
    printf 'the end of a body, late\n' >&3
    timeout 30 cat <&3
) >"$scratch/slow" &
slow=$!
sleep 0.5
routes "/ = $hostile --workers 2 --env N=1 -- arg\n/keep = $hostile --env-file $scratch/env --workers 1\n/new = $examples/handle.wasm\n"
check "it is reloaded" reload "/keep: $hostile: reloaded"
contains "a new route is said" "$(cat "$scratch/log")" "/new = $examples/handle.wasm: a function"
contains "a removed one, too" "$(cat "$scratch/log")" "/gone: is no route any more"
answers "a new route" /new 200 "fib(0) = 0, and this is request 1"
get /environment
same "a changed route" "$status $(grep -cxF -e N=1 -e COMMON=1 "$scratch/body")" "200 2"
get /gone/environment
same "a removed one is the next shorter one's" "$status $(grep -cxF -e SCRIPT_NAME= -e N=1 "$scratch/body")" "404 0"
get /keep/environment
same "one that has not changed" "$status $(grep -cxF -e FROM=file -e SCRIPT_NAME=/keep "$scratch/body")" "200 2"
wait $nap $slow
same "a request that the removed route had" "$(cat "$scratch/nap")" "napped 3000"
contains "and one whose body was still coming" "$(tr -d '\r' <"$scratch/slow")" "012345the end of a body, late"
echo "FROM=elsewhere" >"$scratch/env"
check "what --env-file names has changed, and no line" reload "/keep = $hostile"
get /keep/environment
check "it is read again" grep -qx FROM=elsewhere "$scratch/body"
same "what is counted of a path goes on" "$(metric 'husk_serve_requests_total{route="\/keep",code="200"}')" 2
same "and of a removed one, nothing" "$(curl -s -m 20 "$metrics/metrics" | grep -c 'route="/gone"')" 0
nothing_is_left "of routes that are gone"

# ---- Wrong files ----

wrong() { # NAME PART LINES
    routes "$3"
    check "$1" reload "nothing has changed: the old routes go on serving" 30
    contains "$1: why" "$(tail -c +$((mark + 1)) "$scratch/log")" "$2"
    get /keep/environment
    same "$1: what was there goes on" "$status $(grep -cx FROM=elsewhere "$scratch/body")" "200 1"
    answers "$1: and so does the rest" /new 200 "fib(0) = 0, and this is request 1"
}
good="/ = $hostile\n/keep = $hostile\n"
wrong "an empty file" "has no route" ""
wrong "a line without a path" "line 3: a route begins with a path" "${good}new = $hostile\n"
wrong "a path that is there twice" "line 3: this path has a route already" "${good}/keep = $hostile\n"
wrong "an unknown option" "bad option '--frobnicate'" "${good}/x = $hostile --frobnicate\n"
wrong "an option of the server" "option --listen is the server's" "${good}/x = $hostile --listen 127.0.0.1:0\n"
wrong "a module that is not there" "/x: $scratch/none.wasm: cannot open: No such file" "/y = $hostile\n/x = $scratch/none.wasm\n$good"
wrong "a module that is none" "/x: $scratch/env: " "${good}/x = $scratch/env\n"
wrong "a module that is a folder" "/x: $scratch: " "${good}/x = $scratch\n"
wrong "a directory that is not there" "No such file" "${good}/x = $hostile --dir $scratch/none::/d\n"
wrong "a function that is not there" "exports no function 'nothing'" "${good}/x = $hostile --handler nothing\n"
wrong "too little memory" "memory_max_bytes" "${good}/x = $hostile --max-memory 64K\n"
wrong "a NUL" "has a NUL" "${good}\\000"
rm "$scratch/routes"
check "no file" reload "routes: No such file or directory" 30
mkdir "$scratch/routes"
check "a folder" reload "nothing has changed" 30
rmdir "$scratch/routes"
mkfifo "$scratch/routes"
check "a pipe is not waited for, and modules are read again all the same" reload "/keep: $hostile: reloaded" 30
rm "$scratch/routes" "$scratch/env"
mkfifo "$scratch/env"
routes "$good/x = $hostile --env-file $scratch/env\n"
check "a pipe of variables is not waited for" reload "is a pipe" 30
answers "and the old routes serve" /new 200 "fib(0) = 0, and this is request 1"
same "how often nothing has changed is counted" "$(metric husk_serve_refused_routes_files_total)" 15
nothing_is_left "of what was started for them"

# ---- Under load ----

routes "/ = $hostile --workers 2\n"
check "a good file after all that" reload "/keep: is no route any more"
timeout 120 "$client" load "$port" 24 "${SERVE_RELOAD_SECONDS:-4}" good >"$scratch/load" &
load=$!
rounds=0
while kill -0 $load 2>/dev/null; do
    rounds=$((rounds + 1))
    routes "/ = $hostile --workers $((1 + rounds % 3)) --env N=$rounds\n/r$((rounds % 2)) = $hostile --workers 1\n"
    reload "/r$((rounds % 2)) = " || fail "round $rounds" "$(tail -n 5 "$scratch/log")"
    [ "$(curl -s -m 30 "$url/r$((rounds % 2))/canary?$rounds")" = "canary $rounds clean" ] || fail "the new route of round $rounds"
    [ $((rounds % 3)) != 0 ] || { routes "/ = $hostile --bad\n"; reload "nothing has changed" || fail "a wrong file in round $rounds"; }
done
wait $load
echo "group: load: $rounds reloads: $(tail -n 1 "$scratch/load")"
check "routes changed while clients asked: $rounds times" test "$rounds" -ge 2
contains "and no request was lost" "$(cat "$scratch/load")" "wrong 0 refused 0 lost 0"
nothing_is_left "of the old routes"
for ((i = 0; i < 20; i++)); do
    routes "/ = $hostile --env N=$i\n"
    kill -HUP "$server"
done
check "many signals at once: the last file serves" eventually 30 sh -c "curl -s -m 20 '$url/environment' | grep -qx N=19"
stop
same "the server ends well" "$code" 0

# The end, while a reload is under way.
routes "/ = $hostile\n"
serve --routes "$scratch/routes" || finish
timeout 60 "$client" load "$port" 16 20 good >"$scratch/load" &
load=$!
sleep 1
routes "/ = $hostile --env N=1\n/a = $hostile\n/b = $hostile\n"
kill -HUP "$server"
stop
wait $load
same "SIGTERM during a reload" "$code" 0
contains "loses nothing that was accepted" "$(cat "$scratch/load")" "wrong 0 refused 0 lost 0"
finish
