# tests/serve/serve.sh: what the suites of husk serve share, sourced by them.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
cd "$HUSK_SOURCE" || exit 1
client=$HUSK_BUILD/tests/serve-guests/client
hostile=$HUSK_BUILD/tests/serve-guests/hostile.wasm
examples=$HUSK_BUILD/examples
server=
# With AddressSanitizer, memory that was freed waits there: little of it, because suites look at the server's memory.
export ASAN_OPTIONS=quarantine_size_mb=4:${ASAN_OPTIONS:-}
trap 'stop_hard; rm -rf "$scratch"' EXIT

need_kvm
if ! [ -x "$HUSK_BUILD/husk-serve" ]; then
    skip all "husk-serve was not built: no libmicrohttpd"
    finish
fi
if ! [ -f "$hostile" ] || ! [ -f "$examples/cgi.wasm" ]; then
    skip all "no clang for wasm32 when this was built"
    finish
fi
if ! command -v curl >/dev/null; then
    skip all "no curl"
    finish
fi

# serve ARGUMENT…: starts a server at a port of its own; $server is its process, $port its port, its output in $scratch/{access,log}.
serve() {
    : >"$scratch/log"
    "$husk" serve --listen 127.0.0.1:0 "$@" >"$scratch/access" 2>"$scratch/log" </dev/null &
    server=$!
    wait_for_log "listening on 127" || { fail "husk serve $*" "$(cat "$scratch/log")"; return 1; }
    port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\)$/\1/p' "$scratch/log" | tail -n 1)
    url=http://127.0.0.1:$port
}

wait_for_log() { # TEXT [SECONDS]
    local i
    for ((i = 0; i < ${2:-60} * 20; i++)); do
        ! grep -qaF -- "$1" "$scratch/log" || return 0
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

stop() { # as it should end: $code is its exit code
    kill "$server" 2>/dev/null
    wait "$server"
    code=$?
    server=
}

stop_hard() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null
    [ -z "$server" ] || wait "$server" 2>/dev/null
    server=
}

# get PATH [CURL-OPTION…]: $status, and the body in $scratch/body
get() {
    local path=$1
    shift
    status=$(curl -s -m 30 -o "$scratch/body" -w '%{http_code}' "$@" "$url$path")
}

# answers NAME PATH STATUS BODY [CURL-OPTION…]
answers() {
    local name=$1 wanted_status=$3 wanted_body=$4
    get "$2" "${@:5}"
    same "$name" "$status $(tr '\0' '?' <"$scratch/body")" "$wanted_status $wanted_body"
}

refuses() { # NAME EXIT-CODE PART ARGUMENT…: the server does not start
    local name=$1 wanted=$2 part=$3 out
    shift 3
    out=$(timeout 60 "$husk" serve "$@" 2>&1 </dev/null)
    same "$name: exit code" "$?" "$wanted"
    contains "$name: message" "$out" "$part"
}
