#!/bin/bash
# examples/warm.sh: programs as they were published, warm: each is run once up to the place where it wants its input, and husk run goes
# on from there with its own: examples/warm.sh [HUSK [WARM [FOLDER]]]. WARM is examples/warm.c, built; FOLDER has python.wasm, qjs.wasm
# (with the folder lib of string-utils.js), sqlite.wasm and jq.wasm (tools/build-guests). Prints, for each that is there, the time from
# nothing (compiled before), from the snapshot in a new process, and in a process that restores one sandbox for each request. $LEVEL: how
# modules are compiled, -O2 by default, which takes minutes for CPython; $TIMES: how often each is run.
set -euo pipefail
husk=${1:-husk} warm=${2:-warm} folder=${3:-.} level=${LEVEL:--O2} times=${TIMES:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Milliseconds of the fastest of some runs of a command, with $work/request as its input.
fastest() { # COMMAND…
    local start took best=""
    for _ in $(seq "$times"); do
        start=$(date +%s%N)
        "$@" <"$work/request" >"$work/answer"
        took=$(($(date +%s%N) - start))
        if [ -z "$best" ] || [ "$took" -lt "$best" ]; then best=$took; fi
    done
    awk -v ns="$best" 'BEGIN { printf "%.1f ms", ns / 1e6 }'
}

# A line of the table. The request is standard input.
recipe() { # NAME PROGRAM [OPTION… --] ARGUMENT…: options of husk run
    local name=$1 program=$2 options=() cold again inside
    shift 2
    cat >"$work/request"
    [ -f "$program" ] || return 0
    while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    cold=$(fastest "$husk" run "$level" "${options[@]}" "$program" "$@")
    cp "$work/answer" "$work/expected"
    "$husk" snapshot "$level" "$program" --until stdin -o "$work/warm.husk" "${options[@]}" -- "$@" </dev/null
    again=$(fastest "$husk" run "${options[@]}" "$work/warm.husk")
    cmp "$work/answer" "$work/expected"
    "$warm" "$work/warm.husk" 30 <"$work/request" >"$work/answer" 2>"$work/times"
    cmp "$work/answer" "$work/expected"
    inside=$(awk '{ for (i = 1; i < NF; i++) if ($i == "median") printf "%.2f ms", $(i + 1) / 1e3 }' "$work/times")
    echo "| $name | $cold | $again | $inside | $(head -n 1 "$work/answer") |"
}

echo "| program | from nothing | from the snapshot | in a pool | answer |"
echo "|---|---|---|---|---|"

recipe CPython "$folder/python.wasm" -- -c 'import json, re, decimal, sys; exec(sys.stdin.read())' \
    <<<'print(json.dumps(re.findall("[0-9]+", "1, 20 and 300")), decimal.Decimal(2).sqrt())'

recipe QuickJS "$folder/qjs.wasm" --dir "$folder/lib::/lib::ro" -- --std -e 'globalThis.module = {}; std.loadScript("/lib/string-utils.js");
    globalThis.lib = module.exports; std.evalScript(std.in.readAsString())' <<<'print(lib.slugify("Hello Warm World"))'

cat >"$work/init.sql" <<'SQL'
create table t(x integer primary key, y text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) insert into t select i, 'row ' || i from n;
create index by_text on t(y);
SQL
recipe SQLite "$folder/sqlite.wasm" --dir "$work::/work::ro" -- -init /work/init.sql :memory: \
    <<<"select x || ' of ' || (select count(*) from t) from t where y = 'row 777';"

recipe jq "$folder/jq.wasm" -- -c 'def total: map(.n) | add; {total: total, names: [.[] | select(.n > 1) | .name | ascii_upcase]}' \
    <<<'[{"name": "one", "n": 1}, {"name": "two", "n": 2}]'

recipe Go "$folder/table-go.wasm" -- <<<cebadi
recipe Rust "$folder/table-rs.wasm" -- <<<cebadi
recipe C "$folder/answer.wasm" -- <<<1000000
