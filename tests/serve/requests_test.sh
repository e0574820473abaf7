# tests/serve/requests_test.sh: what guests get of a request, and what clients get of their answers: programs by CGI, programs that
# stand at their input, functions.
. "${HUSK_SOURCE:-.}/tests/serve/serve.sh"

# ---- CGI ----

serve "$examples/cgi.wasm" --env OWN=value --env HTTP_X_OWN=own --env SERVER_SOFTWARE=mine || finish
answers "a greeting" "/greet?you" 200 "Hello, you! This is visit 1."
answers "the next one starts from the beginning, too" "/greet?me" 200 "Hello, me! This is visit 1."
answers "a body" /upper 200 "SOME TEXT" -d "some text"
answers "a body in chunks" /upper 200 "SOME TEXT" -d "some text" -H "Transfer-Encoding: chunked"
answers "no such path" /elsewhere 404 "There is no /elsewhere"
get "/environment/?x=%41" -X DELETE
same "a path that the program does not have" "$status" 404
get "/environment?a=1&b=%20" -A agent -H "X-A: 1" -H "X-A: 2" -H "X-Own: client" -H "Cookie: c=1" -H "Proxy: http://evil" -H "X_B: underscore" \
    -H "Authorization: Basic c2VjcmV0" -H "Husk-Remote-Addr: 9.9.9.9" -H "Host: example.org:81" -H "Content-Type: a/b" -H "TE: trailers"
for row in GATEWAY_INTERFACE=CGI/1.1 SERVER_PROTOCOL=HTTP/1.1 REQUEST_METHOD=GET PATH_INFO=/environment 'QUERY_STRING=a=1&b=%20' \
    'REQUEST_URI=/environment?a=1&b=%20' SCRIPT_NAME= SERVER_NAME=example.org SERVER_PORT="$port" REMOTE_ADDR=127.0.0.1 CONTENT_TYPE=a/b \
    HTTP_USER_AGENT=agent 'HTTP_X_A=1, 2' HTTP_COOKIE=c=1 OWN=value HTTP_X_OWN=own SERVER_SOFTWARE=mine; do
    check "variable $row" grep -qxF -- "$row" "$scratch/body"
done
same "each variable is there once" "$(cut -d = -f 1 "$scratch/body" | sort | uniq -d)" ""
for name in HTTP_PROXY HTTP_X_B HTTP_AUTHORIZATION HTTP_HUSK HTTP_TE HTTP_CONTENT_TYPE HTTP_CONTENT_LENGTH CONTENT_LENGTH HOME PATH=; do
    check "no variable $name" test -z "$(grep "^$name" "$scratch/body")"
done
get /environment -d 12345
check "the length of a body" grep -qx CONTENT_LENGTH=5 "$scratch/body"
get /environment -d 12345 -H "Transfer-Encoding: chunked"
check "the length of a body in chunks" grep -qx CONTENT_LENGTH=5 "$scratch/body"
get "/a%2Fb%20c%41/environment"
same "an encoded path is decoded" "$(cat "$scratch/body")" "There is no /a/b cA/environment"
answers "half an escape" "/a%4" 400 "400 Bad Request"
answers "a NUL in a path" "/a%00b" 400 "400 Bad Request"
head -c 6000000 /dev/zero | tr '\0' a >"$scratch/large"
get /upper --data-binary "@$scratch/large"
same "a large body, both ways" "$status $(tr -d A <"$scratch/body" | wc -c) $(wc -c <"$scratch/body")" "200 0 6000000"
get /greet -I
same "HEAD" "$status $(grep -c Hello "$scratch/body")" "200 0"
contains "HEAD has the length" "$(cat "$scratch/body")" "Content-Length: 31"
answers "HTTP/1.0" /greet 200 "Hello, world! This is visit 1." --http1.0
answers "TRACE" /greet 405 "405 Method Not Allowed" -X TRACE
answers "the health of the server" /healthz 200 ok
same "two requests on one connection" "$(curl -s -m 20 "$url/greet?a" "$url/greet?b")" "Hello, a! This is visit 1.
Hello, b! This is visit 1."
stop
same "the server ends well" "$code" 0

# ---- Answers ----

serve "$hostile" --max-response 300K || finish
for name in none nothead emptyhead nohead status status1 control fold lengths short long name nul huge; do
    answers "an answer that is none: $name" "/bad?$name" 502 "502 Bad Gateway"
done
get "/good?own" -D "$scratch/head"
same "a head of the guest's" "$status $(cat "$scratch/body") $(grep -ciE '^(x-kept: yes|set-cookie: [ab]=[12])' "$scratch/head")" "200 abc 3"
check "what is the server's stays so" test -z "$(grep -iE '^(connection: upgrade|transfer-encoding)' "$scratch/head")"
answers "wizer.initialize ran once, before the snapshot" "/initialised" 200 "initialised 1"
answers "and again" "/initialised" 200 "initialised 1"
answers "a status line" "/good?line" 203 ok
answers "no body" "/good?empty" 204 ""
get "/good?unchanged" -D "$scratch/head"
same "304 with the length of what the client has" "$status $(grep -ciE '^content-length: 17' "$scratch/head")" "304 1"
same "a header without a value" "$(tr -d ' \r' <"$scratch/head" | grep -c '^X-Empty:$')" 1
same "nothing follows a 304" "$(curl -s -m 20 "$url/good?unchanged" "$url/good?line")" ok
get "/good?redirect" -D "$scratch/head"
same "Location alone is a redirection" "$status $(grep -ci '^location: http://example.org/' "$scratch/head")" "302 1"
answers "a trap" /trap 500 "500 Internal Server Error"
contains "its backtrace is in the log" "$(cat "$scratch/log")" "trap at 0x"
answers "an exit code without an answer" "/code?b" 500 "500 Internal Server Error"
answers "an exit code behind an answer" "/code?a" 200 "answer a"
answers "all descriptors are closed by the guest" "/close?c" 200 "closed c"
answers "a body that nobody reads" "/none?n" 200 "read none n" --data-binary "@$scratch/large"
get "/late?x"
same "a trap in the middle: the answer does not look whole" "$(curl -s -m 20 -o /dev/null "$url/late?x"; echo $?)" 18
same "and to HTTP/1.0, which has no chunks, the connection is reset" "$(curl -s -m 20 -o /dev/null --http1.0 "$url/late?x"; echo $?)" 56
same "too large: the same" "$(curl -s -m 20 -o /dev/null "$url/flood"; echo $?)" 18
contains "too large: it is logged" "$(cat "$scratch/log")" "it is larger than --max-response"
get "/large?150000" -I
same "HEAD of a large answer" "$status" 200
printf 'HEAD /drip?d HTTP/1.1\r\nHost: h\r\n\r\n' >"$scratch/request"
same "HEAD of an answer in pieces: nothing behind its head" "$("$client" raw "$port" hold 0 <"$scratch/request" | tr -d '\r' | tail -n 1)" ""
answers "205 has no body" "/good?reset" 205 ""
contains "escapes in the guest's own log" "$(get "/log?esc"; cat "$scratch/log")" 'log line 2 \1b[31m of esc'
check "a log is bounded" test "$(grep -c 'log line' "$scratch/log")" -lt 3000
begin=$(date +%s%N)
same "an answer in pieces" "$(curl -s -N -m 20 "$url/drip?d" | while read -r line; do
    echo "$line $((($(date +%s%N) - begin) / 450000000))"
done)" "first d 0
second d 1"
stop
same "the server ends well, after all that" "$code" 0

# ---- Files ----

mkdir "$scratch/host"
# files MODE SECOND LEFT: of two requests that each write a file, what the second one finds, and what is on the host after both
files() {
    rm -f "$scratch/host/left"
    serve "$hostile" --workers 1 --dir "$scratch/host::/tmp$1" || finish
    answers "files${1:-, as they are}: the first request" "/canary?f1" 200 "canary f1 clean"
    answers "files${1:-, as they are}: the second one" "/canary?f2" 200 "canary f2 $2"
    same "files${1:-, as they are}: on the host" "$(cat "$scratch/host/left" 2>/dev/null)" "$3"
    stop
}
files "" clean ""
files ::cow clean ""
files ::ro clean ""
files ::rw "a file was left" f2

# ---- Functions, and programs that stand ----

serve "$examples/handle.wasm" || finish
answers "a function" /30 200 "fib(30) = 832040, and this is request 1"
answers "and again, from the same state" /31 200 "fib(31) = 1346269, and this is request 1"
answers "its own status" /94 400 "at most 93"
answers "with a body" /1 200 "fib(1) = 1, and this is request 1" --data-binary "@$scratch/large"
stop
serve "$examples/handle.wasm" --reuse --workers 1 || finish
get /1
answers "--reuse: the state stays" /2 200 "fib(2) = 1, and this is request 2"
stop
serve "$examples/handle.wasm" --warm /5 || finish
answers "--warm: the state after the first request" /3 200 "fib(3) = 2, and this is request 2"
answers "and again" /3 200 "fib(3) = 2, and this is request 2"
stop
for how in run snapshot; do
    if [ $how = run ]; then
        serve "$hostile" --until stdin --warm /warm -- stand || finish
    else
        check "husk snapshot" "$husk" snapshot "$hostile" --until stdin -o "$scratch/stand.husk" -- stand 2>"$scratch/snapshot"
        serve "$scratch/stand.husk" || finish
    fi
    for times in 1 2; do
        answers "a program that stands ($how, $times)" "/path?q" 200 "start 1
POST /path?q HTTP/1.1$(printf '\r')
Host: h$(printf '\r')
X-A: 1$(printf '\r')
Content-Length: 4$(printf '\r')
Husk-Script-Name: $(printf '\r')
Husk-Remote-Addr: 127.0.0.1$(printf '\r')
$(printf '\r')
body" -d body -H "X-A: 1" -H "Authorization: x" -H "Proxy: y" -H "Host: h" -H "User-Agent:" -H "Accept:" -H "Content-Type:"
    done
    contains "its kind is said" "$(cat "$scratch/log")" "a program that stands at its input"
    [ $how = snapshot ] || same "it started once" "$(grep -c "a start" "$scratch/log")" 1
    stop
done

# ---- What cannot be served ----

refuses "no file" 2 "which file?"
refuses "two files" 2 "there is one module" a.wasm b.wasm
refuses "a file that is not there" 125 "No such file" "$scratch/none.wasm"
refuses "standard input" 2 "not standard input" -
refuses "a bad address" 2 "--listen wants ADDRESS:PORT" --listen 80 "$hostile"
refuses "an unknown option" 2 "bad option '--frobnicate'" --frobnicate "$hostile"
refuses "no time" 2 "--timeout wants a time" --timeout soon "$hostile"
refuses "a path for warming up that is none" 2 "--warm wants a path" --warm "/a b" "$hostile"
refuses "half an escape in it" 2 "--warm wants a path" --warm "/a%4" "$hostile"
refuses "no workers" 2 "--workers wants a number" --workers 0 "$hostile"
refuses "a function that is not there" 125 "exports no function 'nothing'" --handler nothing "$examples/handle.wasm"
refuses "a function of another type" 125 "no function from bytes to bytes" --handler husk_init "$examples/handle.wasm"
refuses "a module with neither" 125 "exports neither _start" "$examples/plugin.wasm"
refuses "--reuse of a program" 125 "--reuse" --reuse "$examples/cgi.wasm"
refuses "--until of a function" 125 "is no program" --until stdin "$examples/handle.wasm"
refuses "a program that reads nothing" 125 "ended before it read" --until stdin "$examples/program.wasm" -- args
printf '\0asm\1\0\0\0\1\10\2\140\0\0\140\1\177\0\3\3\2\0\1\7\35\2\6_start\0\0\20wizer.initialize\0\1\12\7\2\2\0\13\2\0\13' >"$scratch/type.wasm"
refuses "an initialiser of another type" 125 "has a wizer.initialize with parameters" "$scratch/type.wasm"
refuses "too little memory" 125 "memory_max_bytes is 65536" --max-memory 64K "$examples/cgi.wasm"
refuses "more directories than there are" 125 "No such file" --dir "$scratch/none::/d" "$examples/cgi.wasm"
contains "help" "$("$husk" serve --help)" "--max-response SIZE"
same "help is that of husk help" "$("$husk" help serve)" "$("$husk" serve --help)"
finish
