# tests/serve/clients_test.sh: clients that are slow, gone, rude or too many; guests that are slow or hostile under load; nothing of
# one request in another's answer; nothing left behind.
. "${HUSK_SOURCE:-.}/tests/serve/serve.sh"

raw() { # HOW MS: standard input to the server, its answer to standard output
    timeout 60 "$client" raw "$port" "$@"
}
first_line() {
    head -n 1 | tr -d '\r'
}

# ---- Time ----

serve "$hostile" --timeout 1s --workers 1 --max-wait 2s --client-timeout 1s --max-body 1M --max-connections 200 || finish
answers "an endless loop" /loop 504 "504 Gateway Timeout"
contains "is in the log" "$(cat "$scratch/log")" " ms before a worker was free, "
answers "an endless sleep" "/nap?100000" 504 "504 Gateway Timeout"
answers "and the next request finds a guest" "/canary?1" 200 "canary 1 clean"
begin=$(date +%s%N)
for i in 1 2 3 4; do
    curl -s -o /dev/null -w '%{http_code} %header{retry-after}\n' -m 30 "$url/loop" >"$scratch/loop$i" &
    loops[i]=$!
done
wait "${loops[@]}"
same "no free worker in time is 503, and says when to come again" "$(sort -u "$scratch"/loop[1-4])" "503 1
504 "
ms=$((($(date +%s%N) - begin) / 1000000))
check "waiting is a part of --timeout: all were answered in $ms ms" test $ms -lt 1900
printf 'GET /canary?half HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n' >"$scratch/request"
contains "a client that closes its half" "$(raw half 0 <"$scratch/request" | tr -d '\r')" "canary half clean"
begin=$(date +%s%N)
printf 'GET /loop HTTP/1.1\r\nHost: h\r\n\r\n' | raw drop 0
get "/canary?left"
same "a client that left holds no worker" "$status" 200
printf 'GET /canary?slow HTTP/1.1\r\nHost: a-host-with-a-long-name\r\n' | raw hold 50 >"$scratch/slow"
same "a head that comes byte by byte is cut off" "$(wc -c <"$scratch/slow")" 0
printf 'POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n%0100d' 0 | raw hold 0 >"$scratch/slow"
check "a body that does not come: the client is cut off" test $((($(date +%s%N) - begin) / 1000000000)) -lt 30
get "/canary?4"
same "and the server serves" "$status" 200

# ---- Sizes ----

head -c 3000000 /dev/zero | tr '\0' a >"$scratch/large"
answers "a body that is too large" /echo 413 "413 Content Too Large" --data-binary "@$scratch/large" -H "Expect:"
answers "the same, asked before" /echo 413 "413 Content Too Large" --data-binary "@$scratch/large" -H "Expect: 100-continue"
answers "the same, in chunks" /echo 413 "413 Content Too Large" --data-binary "@$scratch/large" -H "Transfer-Encoding: chunked" -H "Expect:"
head -c 1048576 "$scratch/large" >"$scratch/most"
get /echo --data-binary "@$scratch/most"
same "as large as allowed" "$status $(cksum <"$scratch/body")" "200 $(cksum <"$scratch/most")"
get /canary -H "X-Large: $(head -c 100000 "$scratch/large")"
check "a head that is too large: $status" test "$status" = 431 -o "$status" = 413
get "/$(head -c 100000 "$scratch/large")"
check "a path that is too long: $status" test "$status" = 414 -o "$status" = 431
for ((i = 0; i < 200; i++)); do printf 'X-%d: y\r\n' $i; done >"$scratch/many"
same "too many headers" "$({ printf 'GET / HTTP/1.1\r\nHost: h\r\n'; cat "$scratch/many"; printf '\r\n'; } | raw half 0 | first_line |
    cut -d ' ' -f 2)" 431
for lengths in 'Content-Length: 3\r\nContent-Length: 4' 'Content-Length: 3\r\nTransfer-Encoding: chunked' 'Content-Length: -3' 'Content-Length: 3x' \
    'Content-Length: 99999999999999999999999' 'Content-Length : 3' 'Transfer-Encoding : chunked' 'Transfer-Encoding: identity' \
    'Transfer-Encoding: gzip, chunked' 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity' 'Transfer-Encoding: chunked '; do
    same "no clear length: $lengths" "$(printf "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n$lengths\r\n\r\nabc" | raw hold 0 | first_line |
        cut -d ' ' -f 2 | sed 's/413/400/')" 400
done
same "HTTP/1.1 without a host" "$(printf 'GET /canary?x HTTP/1.1\r\n\r\n' | raw half 0 | first_line | cut -d ' ' -f 2)" 400
# refused TEXT LINE LINES: by the server, before any guest
refused() {
    same "$1" "$(printf "$2\r\n${3:+$3\r\n}Connection: close\r\n\r\n" | raw half 0 | first_line | cut -d ' ' -f 2)" 400
}
refused "chunks of HTTP/1.0" 'POST /echo HTTP/1.0' 'Transfer-Encoding: chunked'
refused "a blank before the first header" 'GET /canary?x HTTP/1.1' ' X: y\r\nHost: h'
refused "a name with a blank" 'GET /canary?x HTTP/1.1' 'Host: h\r\nX A: y'
refused "a control character" 'GET /canary?x HTTP/1.1' 'Host: h\r\nX: a\033b'
refused "a header that goes on in the next line" 'GET /canary?x HTTP/1.1' 'Host: h\r\nX: a\r\n b\r\nY: c'
refused "a length that goes on in the next line" 'POST /echo HTTP/1.1' 'Host: h\r\nContent-Length:\r\n 5\r\nY: c'
refused "a name from two lines" 'GET /canary?x HTTP/1.1' 'Host: h\r\nX-Forwarded: 192.0.2.1\r\n\t-For\r\nY: c'
refused "a NUL in a value" 'GET /canary?x HTTP/1.1' 'Host: h\r\nX: a\000b\r\nY: c'
refused "a NUL in the target" 'GET /canary?x\000y HTTP/1.1' 'Host: h'
refused "a fragment in the target" 'GET /canary#x?y HTTP/1.1' 'Host: h'
refused "a target with an empty host" 'GET http:///canary?x HTTP/1.1' 'Host:'
refused "a lone CR in the target" 'GET /canary?x\rX:y HTTP/1.1' 'Host: h'
refused "a control character in the target" 'GET /canary?\001 HTTP/1.1' 'Host: h'
refused "a lone CR" 'GET /canary?x HTTP/1.1' 'Host: h\r\nX: a\rY: b'
refused "two hosts" 'GET /canary?x HTTP/1.1' 'Host: h\r\nHost: i'
refused "a host that is none" 'GET /canary?x HTTP/1.1' 'Host: h/i'
refused "a target for another host" 'GET http://i/canary?x HTTP/1.1' 'Host: h'
refused "a target of another kind" 'GET x://h/canary?x HTTP/1.1' 'Host: h'
refused "a line without a name, at the end of the head" 'GET /canary?x HTTP/1.1' 'Host: h\r\n: y'
refused "a line that begins with a NUL" 'GET /canary?x HTTP/1.1' 'Host: h\r\n\000: y'
refused "a line without a name, at the beginning" 'GET /canary?x HTTP/1.1' ':\r\nHost: h'
same "and what follows is no request" "$(printf 'GET /canary?a HTTP/1.1\r\nHost: h\r\n:\r\nGET /canary?b HTTP/1.1\r\nHost: h\r\n\r\n' | raw hold 0 |
    grep -ac '^HTTP/1.1')" 1
same "lines that end with LF alone" "$(printf 'GET /canary?x HTTP/1.1\nHost: h\nConnection: close\n\n' | raw half 0 | tail -n 1)" "canary x clean"
refused "a method that is none" 'G@T /canary?x HTTP/1.1' 'Host: h'
same "a target for this one" "$(printf 'GET http://h:1/canary?x HTTP/1.1\r\nHost: h:1 \r\nConnection: close\r\n\r\n' | raw half 0 | tail -n 1)" \
    "canary x clean"
same "one without a path" "$(printf 'GET http://h?x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n' | raw half 0 | tail -n 1)" "no /"
# another server may know another end of such a body
for end in '0\n\n' '0\r\n\r\n' '0\r\n\000: y\r\n' '0;a\n\r\n'; do
    same "behind chunks there is no further request: $end" "$(printf 'POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n%b%b' \
        "$end" 'GET /canary?b HTTP/1.1\r\nHost: h\r\n\r\n' | raw hold 0 | grep -aoE '^HTTP/1.1 [0-9]*|abc.*' | tr '\n' ' ')" "HTTP/1.1 200 abc "
done
printf 'GET /canary?p%d HTTP/1.1\r\nHost: h\r\n\r\n' 1 2 3 >"$scratch/pipeline"
printf 'GET /canary?p4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n' >>"$scratch/pipeline"
same "pipelined requests, in order" "$(raw hold 0 <"$scratch/pipeline" | grep -ao 'canary p[0-9] clean' | tr '\n' ' ')" \
    "canary p1 clean canary p2 clean canary p3 clean canary p4 clean "
head -c 100000 /dev/urandom | raw half 0 >/dev/null
printf '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' | raw half 0 >/dev/null
get "/canary?5"
same "after noise, the server serves" "$status" 200
"$client" silent "$port" 190 3 >"$scratch/silent" &
silent=$!
sleep 0.5
get "/canary?6"
same "beside silent connections" "$status" 200
wait $silent
same "silent connections" "$(cat "$scratch/silent")" open
stop
same "the server ends well" "$code" 0

serve "$examples/handle.wasm" --max-body 1M --max-bodies 1M --client-timeout 3s --workers 1 || finish
{ printf 'POST /3 HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n'; head -c 800000 "$scratch/large"; } | raw hold 0 >"$scratch/held" &
holding=$!
sleep 1
head -c 500000 "$scratch/large" >"$scratch/half"
answers "bodies that are too large together" /4 503 "503 Service Unavailable" --data-binary "@$scratch/half" -H "Expect:"
wait $holding
answers "until one of them is gone" /5 200 "fib(5) = 5, and this is request 1" --data-binary "@$scratch/half" -H "Expect:"
stop

# ---- Load ----

# what LABEL: descriptors, mappings and memory of the server
what() {
    fds=$(ls "/proc/$server/fd" | wc -l)
    maps=$(wc -l <"/proc/$server/maps")
    rss=$(awk '/VmRSS/ {print $2}' "/proc/$server/status")
}
serve "$hostile" --timeout 2s --workers 3 --max-wait 60s --max-response 300K --max-memory 64M --dir mem::/tmp --access-log=json || finish
for i in 1 2 3 4 5; do # clients that leave while the guest works and their body is still coming
    { printf 'POST /nap?400 HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n'; head -c 400000 "$scratch/large"; } | raw drop 0 &
    leaving[i]=$!
done
wait "${leaving[@]}"
timeout 120 "$client" load "$port" 16 3 >"$scratch/load" || fail "load, first" "$(cat "$scratch/load")"
sleep 1
what
before_fds=$fds before_maps=$maps before_rss=$rss
timeout 900 "$client" load "$port" 64 "${SERVE_SECONDS:-8}" >"$scratch/load" || fail "load" "$(cat "$scratch/load")"
for ((i = 0; i < 20; i++)); do # a busy machine takes its time to close connections
    sleep 0.5
    what
    [ "$fds" -gt $((before_fds + 2)) ] || break
done
echo "group: load: $(tail -n 1 "$scratch/load")"
same "no wrong answer" "$(grep -o 'wrong [0-9]*\|lost [0-9]*' "$scratch/load" | tr '\n' ' ')" "wrong 0 lost 0 "
p99=$(sed -n 's/.*p99_us \([0-9]*\).*/\1/p' "$scratch/load")
check "99 of 100 answers, hostile ones too, come within --timeout and a moment: $p99 us" test "$p99" -lt 2400000
check "descriptors: $before_fds, then $fds" test "$fds" -le $((before_fds + 2))
if grep -q libtsan "/proc/$server/maps"; then
    skip "mappings and memory" "ThreadSanitizer has its own"
else
    check "mappings: $before_maps, then $maps" test "$maps" -le $((before_maps + 40))
    check "memory: $before_rss kB, then $rss" test "$rss" -le $((before_rss + 20000))
fi
same "lines of the access log that are no object" "$(grep -cv '^{"time":".*,"end":"[a-z_]*"}$' "$scratch/access")" 0
stop
same "the server ends well" "$code" 0

# ---- The log's reader stands still, or is gone; the disk is full ----

# logging_to FILE: as serve, with the access log there
logging_to() {
    : >"$scratch/log"
    "$husk" serve --listen 127.0.0.1:0 "$hostile" --access-log 2>"$scratch/log" >"$1" &
    server=$!
    [ "$1" != "$scratch/pipe" ] || exec 9<"$scratch/pipe"
    wait_for_log "listening on 127"
    port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\)$/\1/p' "$scratch/log")
    url=http://127.0.0.1:$port
}
mkfifo "$scratch/pipe"
logging_to "$scratch/pipe"
target=$(printf '%03000d' 0)
for ((i = 0; i < 40; i++)); do
    get "/none?$target"
done
same "a log that nobody reads" "$status" 200
exec 9<&-
get "/canary?7"
get "/canary?8"
same "a log whose reader is gone" "$status" 200
stop
same "the server ends well" "$code" 0
if [ -w /dev/full ]; then
    logging_to /dev/full
    get "/canary?9"
    get "/canary?10"
    same "a log on a full disk" "$status" 200
    stop
    same "the server ends well" "$code" 0
fi
finish
