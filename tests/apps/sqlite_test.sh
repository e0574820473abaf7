# tests/apps/sqlite_test.sh: the SQLite shell from Debian's source package, SQL from stdin: a database in memory, and files, which
# survive a guest that is killed in a transaction; against the native shell of the same version where it is installed.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest sqlite

script=$HUSK_SOURCE/tests/apps/scripts/check.sql
got=$("$husk" run "$guest" :memory: <"$script" 2>"$scratch/err")
status=$?
in_memory=$got
same "exit code" $status 0
same "rows after rollback" "$(grep -c . <<<"$got")" 25
contains "a sum" "$got" "5000|250034871"
contains "integrity" "$got" ok
if command -v sqlite3 >/dev/null; then
    same "prints what native SQLite prints" "$got" "$(sqlite3 :memory: <"$script" 2>/dev/null)"
else
    skip "prints what native SQLite prints" "no sqlite3 command"
fi
got=$(echo 'select nonsense from nowhere;' | "$husk" run "$guest" :memory: 2>&1)
contains "an error of SQL is an error of SQL" "$got" "no such table"

# Files. wasi-libc has no file locks, so SQLite is told to do without.
work=$scratch/work
mkdir "$work"
on_file() { # MODE OPTION…: SQL from standard input, on /work/db
    local mode=$1
    shift
    "$husk" run "$@" --env HOME=/work --dir "$work::/work::$mode" "$guest" -vfs unix-none /work/db 2>&1
}
same "on a file: nothing fails" "$(on_file rw <"$script")" "$in_memory"
check "on a file: the file is there" test -s "$work/db"
check "on a file: no journal is left" test ! -e "$work/db-journal"
sums='pragma integrity_check; select count(*), sum(people), min(name), max(name) from city;'
before=$(on_file rw <<<"$sums")
contains "another process opens it" "$before" ok
if command -v sqlite3 >/dev/null; then
    same "native SQLite opens it" "$(sqlite3 "$work/db" <<<"$sums")" "$before"
    same "native SQLite's rows are the guest's" "$(sqlite3 "$work/db" .dump | sha256sum)" "$(on_file ro <<<.dump | sha256sum)"
fi

# A transaction that is larger than the cache is written to the file before it ends; then the program is in it for ever.
endless="pragma cache_size = 10; begin; update city set people = -1, name = name || hex(zeroblob(200));
    with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n;"
spilled() { # BYTES: waits until the file is larger
    for ((i = 0; i < 600; i++)); do
        [ "$(stat -c %s "$work/db")" -gt "$1" ] && [ -s "$work/db-journal" ] && return 0
        sleep 0.1
    done
    return 1
}
size=$(stat -c %s "$work/db")
"$husk" run --dir "$work::/work::rw" "$guest" -vfs unix-none /work/db <<<"$endless" >/dev/null 2>&1 &
killed=$!
check "killed in a transaction: it has begun" spilled "$size"
kill -KILL $killed
wait $killed 2>/dev/null
check "killed in a transaction: a journal is left" test -s "$work/db-journal"
cp -r "$work" "$scratch/torn"
same "killed in a transaction: all is as before" "$(on_file rw <<<"$sums")" "$before"
check "killed in a transaction: the journal is gone" test ! -e "$work/db-journal"
same "read-only, with a journal: the same cannot be told" "$(work=$scratch/torn on_file ro <<<"$sums" | grep -c '^ok')" 0
same "copied on write, with a journal: all is as before" "$(work=$scratch/torn on_file cow <<<"$sums")" "$before"
check "copied on write: the journal is still below" test -s "$scratch/torn/db-journal"
on_file rw --timeout 3s <<<"$endless" >/dev/null
same "out of time in a transaction: exit code" $? 124
same "out of time in a transaction: all is as before" "$(on_file rw <<<"$sums")" "$before"
sum=$(sha256sum <"$work/db")
contains "copied on write" "$(on_file cow <<<'delete from city; vacuum; select count(*) from city;')" 0
same "copied on write: nothing changed" "$(sha256sum <"$work/db")" "$sum"
contains "read-only" "$(on_file ro <<<'delete from city;')" "readonly database"
same "in memory" "$("$husk" run --env HOME=/work --dir mem::/work "$guest" -vfs unix-none /work/db <"$script" 2>&1)" "$in_memory"
finish
