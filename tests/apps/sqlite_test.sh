# tests/apps/sqlite_test.sh: the SQLite shell from Debian's source package, an in-memory database, SQL from stdin; against the
# native shell of the same version where it is installed.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest sqlite

script=$HUSK_SOURCE/tests/apps/scripts/check.sql
got=$("$husk" run "$guest" :memory: <"$script" 2>"$scratch/err")
status=$?
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
finish
