#!/bin/bash
# examples/warm.sh: programs as they were published, warm: each is run once up to the place where it wants its input, and husk run goes
# on from there with its own: examples/warm.sh [HUSK [WARM [FOLDER]]]. WARM is examples/warm.c, built; FOLDER has python.wasm, qjs.wasm
# (with the folder lib of string-utils.js), sqlite.wasm and jq.wasm (tools/build-guests). Prints, for each that is there and each level, the
# time from nothing (compiled before), from the snapshot in a new process, and in a process that restores one sandbox for each request:
# the median, and the fastest and slowest tenth. The answers must be the same. $LEVELS: how modules are compiled, "-O2 -O0" by default; at
# -O2 CPython takes minutes, once. $TIMES: how often each is run, 11 by default.
set -euo pipefail
husk=${1:-husk} warm=${2:-warm} folder=${3:-.} levels=${LEVELS:--O2 -O0} times=${TIMES:-11}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A median and two tenths in microseconds, as text in ms.
in_ms() {
    awk 'function text(us) { return sprintf(us < 1e4 ? "%.2f" : us < 1e5 ? "%.1f" : "%.0f", us / 1e3) }
        { print text($1) " ms (" text($2) "-" text($3) ")" }'
}

# Those of a column of nanoseconds.
spread() {
    sort -n | awk '{ us[NR] = $1 / 1e3 } END { few = int(NR / 10); print us[int(NR / 2) + 1], us[few + 1], us[NR - few] }' | in_ms
}

# Nanoseconds of each run of a command, with $work/request as its input. The first run is not counted: it may compile.
time_runs() { # COMMAND…
    local start i
    for ((i = 0; i <= times; i++)); do
        start=$(date +%s%N)
        "$@" <"$work/request" >"$work/answer"
        [ "$i" = 0 ] || echo $(($(date +%s%N) - start))
    done
}

# A line of the table for each level. The request is standard input.
recipe() { # NAME PROGRAM [OPTION… --] ARGUMENT…: options of husk run
    local name=$1 program=$2 options=() level cold again inside
    shift 2
    cat >"$work/request"
    [ -f "$program" ] || return 0
    while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    for level in $levels; do
        cold=$(time_runs "$husk" run "$level" --compile-cpu-limit 60m "${options[@]}" "$program" "$@" | spread)
        cp "$work/answer" "$work/expected"
        "$husk" snapshot "$level" --compile-cpu-limit 60m "$program" --until stdin -o "$work/warm.husk" "${options[@]}" -- "$@" </dev/null
        again=$(time_runs "$husk" run "${options[@]}" "$work/warm.husk" | spread)
        cmp "$work/answer" "$work/expected"
        "$warm" "$work/warm.husk" $((10 * times)) <"$work/request" >"$work/answer" 2>"$work/times"
        cmp "$work/answer" "$work/expected"
        inside=$(sed -E 's/.*median ([0-9.]+) us, tenths ([0-9.]+) and ([0-9.]+) us.*/\1 \2 \3/' "$work/times" | in_ms)
        echo "| $name | $level | $cold | $again | $inside |"
    done
}

"$husk" doctor 2>/dev/null | awk '{ row = $0; sub(/^[a-z]+ +[a-z]+ +/, "", row) } $2 == "cpu" { cpu = row } $2 == "kvm" { kvm = row; sub(/,.*/, "", kvm) }
    $2 == "compiler" { sub(/.* for /, "", row); sub(/;.*/, "", row); name = row } END { print "On " cpu " (" name "), " kvm ":" }'
echo
echo "| program | level | from nothing, \`husk run\` | from the snapshot, \`husk run\` | in a pool |"
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
