# tests/serve/operation_test.sh: what whoever runs a server does with it: routes, reloads, metrics, logs, sockets, the end.
. "${HUSK_SOURCE:-.}/tests/serve/serve.sh"

# ---- Routes ----

cat >"$scratch/routes" <<ROUTES
# paths and modules
/            = $examples/cgi.wasm

/fib         = "$examples/handle.wasm" --workers 1
/fib/deep    = $hostile --env "A=b \"c\" \\\\" --timeout 1s --dir mem::/tmp   # more
/stand       = $hostile --until stdin -- stand
ROUTES
serve --routes "$scratch/routes" --env COMMON=1 --access-log --metrics 127.0.0.1:0 --timeout 20s || finish
metrics=http://$(sed -n 's/.*listening on \(127.0.0.1:[0-9]*\)$/\1/p' "$scratch/log" | head -n 1)
answers "the route for all paths" "/greet?r" 200 "Hello, r! This is visit 1."
answers "a route" "/fib" 200 "fib(0) = 0, and this is request 1"
answers "not a route: only half a name" "/fibs" 404 "There is no /fibs"
get /fib/deep/environment
same "the longest route" "$status $(grep -cxF -e 'SCRIPT_NAME=/fib/deep' -e PATH_INFO=/environment -e 'A=b "c" \' -e COMMON=1 "$scratch/body")" "200 4"
answers "a time limit of a route" /fib/deep/loop 504 "504 Gateway Timeout"
get /stand -d x
contains "a program that stands, with its arguments" "$(cat "$scratch/body")" "Husk-Script-Name: /stand"
answers "the health of the server" /healthz 200 ok
get /fib/deep/trap
curl -s -m 20 "$metrics/metrics" >"$scratch/metrics"
for row in 'husk_serve_requests_total{route="/fib",code="200"} 1' 'husk_serve_requests_total{route="/fib/deep",code="504"} 1' \
    'husk_serve_ends_total{route="/fib/deep",end="deadline"} 1' 'husk_serve_ends_total{route="/fib/deep",end="trapped"} 1' \
    'husk_serve_workers{route="/fib"} 1' 'husk_serve_in_flight{route="/"} 0' 'husk_serve_queued{route="/"} 0' \
    'husk_serve_request_seconds_count{route="/fib"} 1' 'husk_sandbox_traps_total{sandbox="/fib/deep"} 1' \
    'husk_sandbox_deadlines_total{sandbox="/fib/deep"} 1'; do
    check "metrics: $row" grep -qxF -- "$row" "$scratch/metrics"
done
same "lines of the metrics that are none" \
    "$(grep -vcE '^(# (HELP|TYPE) [a-z_]+ .*|[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [-+0-9.eInf]+)$' "$scratch/metrics")" 0
same "names that are one without _total" "$(sed -nE 's/^# TYPE ([a-z_]+) .*/\1/p' "$scratch/metrics" | sed 's/_total$//' | sort | uniq -d)" ""
same "two scrapes on one connection" "$(curl -s -m 20 -o /dev/null -w '%{http_code} %{num_connects}\n' "$metrics/metrics" "$metrics/metrics" -o /dev/null)" "200 1
200 0"
same "metrics are not posted" "$(curl -s -m 20 -o /dev/null -w '%{http_code}' -d x "$metrics/metrics")" 405
same "the health, beside the metrics" "$(curl -s -m 20 "$metrics/healthz")" ok
same "no metrics for the world" "$(curl -s -m 20 -o /dev/null -w '%{http_code}' "$url/metrics")" 404
get '/greet?"\' -H 'Host: h'
stop
same "the server ends well" "$code" 0
same "the access log, in the Common Log Format" "$(grep -vcE '^127\.0\.0\.1 - - \[[^]]+\] "[A-Z]+ [^ ]+ HTTP/1.1" [0-9]{3} ([0-9]+|-)$' "$scratch/access")" 0
contains "quotation marks in it" "$(cat "$scratch/access")" '"GET /greet?\"\\ HTTP/1.1" 200'

bad_routes() { # NAME PART LINES
    printf '%b' "$3" >"$scratch/bad"
    refuses "routes: $1" 2 "$2" --routes "$scratch/bad"
}
bad_routes "none" "has no route" "# nothing\n"
bad_routes "no path" "begins with a path" "fib = a.wasm\n"
bad_routes "no module" "is written" "/ =\n"
bad_routes "no =" "is written" "/ a.wasm b\n"
bad_routes "twice" "has a route already" "/a = $hostile\n/a = $hostile\n"
bad_routes "a slash at the end" "does not end with" "/a/ = $hostile\n"
bad_routes "a quotation mark" "line 2: a quotation mark" "/a = $hostile\n/ = \"a\n"
bad_routes "a server's option" "line 1" "/ = $hostile --listen 127.0.0.1:1\n"
bad_routes "an unknown option" "bad option" "/ = $hostile --frobnicate\n"
bad_routes "a NUL" "has a NUL" "/ = $hostile\n\\000"
refuses "routes: a folder" 2 "directory" --routes "$scratch"
refuses "routes: no such file" 2 "No such file" --routes "$scratch/none"
refuses "routes and a module" 2 "modules stand in that file" --routes "$scratch/routes" "$hostile"

# ---- Reloading, without losing a request ----

cp "$examples/cgi.wasm" "$scratch/app.wasm"
serve "$scratch/app.wasm" --dir mem::/tmp || finish
answers "before" /greet 200 "Hello, world! This is visit 1."
(
    lost=0 count=0
    while ! [ -e "$scratch/enough" ]; do
        code=$(curl -s -m 30 -o /dev/null -w '%{http_code}' "$url/greet?n")
        count=$((count + 1))
        case $code in 200 | 404) ;; *) lost=$((lost + 1)) ;; esac
    done
    echo "$lost" >"$scratch/lost"
) &
asking=$!
cp "$hostile" "$scratch/new.wasm" && mv "$scratch/new.wasm" "$scratch/app.wasm"
kill -HUP "$server"
check "it is reloaded" wait_for_log "reloaded" 60
answers "the new module" "/canary?new" 200 "canary new clean"
echo "no module" >"$scratch/app.wasm"
kill -HUP "$server"
check "a module that is none" wait_for_log "the old one goes on serving" 60
answers "the old one goes on" "/canary?old" 200 "canary old clean"
touch "$scratch/enough"
wait $asking
same "requests that were lost meanwhile" "$(cat "$scratch/lost")" 0
stop

# An optimised image, made behind the unoptimised one.
cp "$hostile" "$scratch/app.wasm"
touch -d '1 minute ago' "$scratch/app.wasm"
HUSK_BACKGROUND=1 HUSK_CACHE_DIR=$scratch/cache serve "$scratch/app.wasm" || finish
contains "it begins unoptimised" "$(cat "$scratch/log")" "unoptimised for now"
# the job has the lowest priority, and the machine is busy
HUSK_CACHE_DIR=$scratch/cache "$husk" run -O2 "$scratch/app.wasm" >/dev/null 2>&1
check "and goes over to the optimised image" wait_for_log "goes on with the optimised image" 120
answers "which serves" "/canary?o" 200 "canary o clean"
stop

# Without a reload, another file is not taken.
cp "$hostile" "$scratch/app.wasm"
HUSK_BACKGROUND=1 HUSK_CACHE_DIR=$scratch/cache2 serve "$scratch/app.wasm" || finish
cp "$examples/cgi.wasm" "$scratch/new.wasm"
touch -d '1 minute ago' "$scratch/new.wasm"
HUSK_CACHE_DIR=$scratch/cache2 "$husk" run -O2 "$scratch/new.wasm" >/dev/null 2>&1
mv "$scratch/new.wasm" "$scratch/app.wasm"
check "a file that has changed before its image was optimised" wait_for_log "app.wasm has changed" 60
answers "the old one serves until the reload" "/canary?o" 200 "canary o clean"
kill -HUP "$server"
check "which takes the new one" wait_for_log "app.wasm: reloaded" 60
answers "that serves then" "/greet?o" 200 "Hello, o! This is visit 1."
stop

# No folder can be made there, also by root.
HUSK_BACKGROUND=1 HUSK_CACHE_DIR=/dev/null/cache serve "$hostile" || finish
check "a cache that cannot be written: the optimised image is made all the same" wait_for_log "goes on with the optimised image" 120
answers "and serves" "/canary?u" 200 "canary u clean"
same "once" "$(grep -c "is made here" "$scratch/log")" 1
stop
mkfifo "$scratch/fifo"
refuses "a pipe is no module" 125 "is a pipe" "$scratch/fifo"
cp "$hostile" "$scratch/app.wasm"
serve "$scratch/app.wasm" || finish
rm "$scratch/app.wasm"
mkfifo "$scratch/app.wasm"
kill -HUP "$server"
check "a module that became a pipe" wait_for_log "is a pipe or a device: a module is a file; the old one goes on serving" 20
rm "$scratch/app.wasm"
cp "$hostile" "$scratch/app.wasm"
kill -HUP "$server"
check "does not hold up the next reload" wait_for_log "app.wasm: reloaded" 20
stop

printf '#!/bin/sh\nulimit -n 120\nexec "%s" "$@"\n' "$husk" >"$scratch/few"
chmod +x "$scratch/few"
husk=$scratch/few serve "$scratch/app.wasm" --workers 1 || finish
contains "few descriptors: fewer connections" "$(cat "$scratch/log")" "--max-connections is 68 instead of 1024"
"$client" silent "$port" 150 5 >"$scratch/silent" &
silent=$!
sleep 1
kill -HUP "$server"
check "connections leave descriptors for a reload" wait_for_log "app.wasm: reloaded" 20
same "and it has all that it needs" "$(grep -c "Too many open files" "$scratch/log")" 0
wait $silent
stop

# ---- Too little of everything ----

out=$(ulimit -n 40; timeout 60 "$husk" serve --listen 127.0.0.1:0 --workers 8 "$hostile" 2>&1 </dev/null)
same "too few descriptors for the workers: exit code" $? 125
contains "too few descriptors for the workers" "$out" "there are 40 descriptors (ulimit -n), and all routes' workers need 56"
if grep -q 'lib[at]san' <(ldd "$HUSK_BUILD/husk-serve"); then
    skip "too few virtual machines" "a sanitizer wants to be the first library"
else
    export LD_PRELOAD=$HUSK_BUILD/tests/serve-guests/few_vms.so FEW_VMS=3
    serve "$hostile" --workers 6 --metrics 127.0.0.1:0 || finish
    unset LD_PRELOAD FEW_VMS
    check "too few virtual machines for the workers: it is said" wait_for_log "there is no sandbox for a request"
    for i in $(seq 40); do
        curl -s -m 20 -o /dev/null -w '%{http_code}\n' "$url/canary?$i"
    done >"$scratch/codes"
    same "and those that have one serve" "$(sort "$scratch/codes" | uniq -c | tr -s ' ')" " 40 200"
    answers "it is healthy" /healthz 200 ok
    check "each worker says it once" test "$(grep -c "there is no sandbox" "$scratch/log")" -le 5
    stop
    same "the server ends well" "$code" 0
fi

# ---- The end ----

serve --access-log json "$hostile" --workers 2 --drain-timeout 20s || finish
for i in 1 2 3 4; do
    curl -s -m 30 "$url/nap?700" >"$scratch/nap$i" &
    naps[i]=$!
done
sleep 0.3
begin=$(date +%s%N)
stop
wait "${naps[@]}"
same "SIGTERM: what was accepted is finished" "$code $(cat "$scratch"/nap[1-4] | sort -u)" "0 napped 700"
same "the format of the access log, as a word of its own" "$(grep -c '^{.*"status":200' "$scratch/access")" 4
check "in time" test $((($(date +%s%N) - begin) / 1000000)) -lt 8000

serve "$hostile" --workers 1 --drain-timeout 500ms || finish
curl -s -m 30 -o /dev/null -w '%{http_code}' "$url/nap?20000" >"$scratch/nap" &
nap=$!
sleep 0.3
stop
wait $nap
same "SIGTERM, and a guest that is not ready in time" "$code $(cat "$scratch/nap")" "0 503"
contains "it is said" "$(cat "$scratch/log")" "1 request was not finished in time"

serve "$hostile" --workers 1 || finish
curl -s -m 30 -o /dev/null "$url/nap?20000" &
nap=$!
sleep 0.3
begin=$(date +%s%N)
kill "$server"
wait_for_log "ends: 1 request" 10
kill "$server"
stop
wait $nap 2>/dev/null
check "a second signal ends at once" test $((($(date +%s%N) - begin) / 1000000)) -lt 3000
same "and that is no good end" "$code" 143

# More clients than it takes, which it has not accepted yet when it is told to end: a lock that libmicrohttpd keeps then kept it from that,
# in a fifth of the rounds.
codes=
for round in 1 2 3 4 5 6 7 8; do
    serve "$hostile" --workers 1 --http-threads $((round % 2 + 1)) --max-connections 20 || finish
    kill -STOP "$server"
    timeout 60 "$client" silent "$port" 40 30 >"$scratch/silent" &
    silent=$!
    sleep 0.2
    (sleep 20 && kill -KILL "$server" 2>/dev/null) &
    killer=$!
    kill "$server"
    kill -CONT "$server"
    wait "$server"
    codes+=" $?"
    server=
    kill $killer $silent
    wait $killer $silent 2>/dev/null
done
same "SIGTERM with clients that were not accepted: it ends, and well" "$codes" " 0 0 0 0 0 0 0 0"

serve "$hostile" --workers 2 || finish
timeout 60 "$client" load "$port" 32 20 good >"$scratch/load" &
load=$!
sleep 1.5
stop
wait $load
same "SIGTERM under load" "$code" 0
contains "loses nothing that was accepted" "$(cat "$scratch/load")" "wrong 0 refused 0 lost 0"

# ---- Sockets ----

serve "$examples/cgi.wasm" --listen "unix:$scratch/socket" || finish
same "a Unix socket" "$(curl -s -m 20 --unix-socket "$scratch/socket" http://name/greet?unix)" "Hello, unix! This is visit 1."
check "REMOTE_ADDR there" grep -qx 'REMOTE_ADDR=unix:' <(curl -s -m 20 --unix-socket "$scratch/socket" http://name/environment)
kill -KILL "$server"
wait "$server" 2>/dev/null
check "a socket that a killed server left" test -S "$scratch/socket"
serve "$examples/cgi.wasm" --listen "unix:$scratch/socket" || finish
same "is replaced" "$(curl -s -m 20 --unix-socket "$scratch/socket" http://name/greet?again)" "Hello, again! This is visit 1."
refuses "one that is in use is not" 125 "in use" --listen "unix:$scratch/socket" "$examples/cgi.wasm"
refuses "nor a port" 125 "in use" --listen "127.0.0.1:$port" "$examples/cgi.wasm"
stop
check "the socket is gone with the server" test ! -e "$scratch/socket"
echo kept >"$scratch/file"
refuses "a path that is another file" 125 "in use" --listen "unix:$scratch/file" "$examples/cgi.wasm"
same "which stays" "$(cat "$scratch/file")" kept
contains "LISTEN_FDS, and no socket" "$(LISTEN_FDS=1 LISTEN_PID=1 timeout 60 "$husk" serve "$examples/cgi.wasm" 2>&1)" "nothing to listen on"
if command -v python3 >/dev/null; then # hands a socket over, as systemd does
    cat >"$scratch/hand.py" <<'HAND'
import os, socket, sys
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
open(sys.argv[1], "w").write(str(s.getsockname()[1]))
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ["LISTEN_FDS"] = "1"
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
HAND
    : >"$scratch/log"
    python3 "$scratch/hand.py" "$scratch/port" "$husk" serve "$examples/cgi.wasm" >"$scratch/access" 2>"$scratch/log" &
    server=$!
    wait_for_log "listening on a socket of systemd's"
    same "a socket that systemd hands over" "$(curl -s -m 20 "http://127.0.0.1:$(cat "$scratch/port")/greet?fd")" "Hello, fd! This is visit 1."
    stop
    same "the server ends well" "$code" 0
else
    skip "socket activation" "no python3, which stands in for systemd"
fi
finish
