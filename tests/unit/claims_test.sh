# tests/unit/claims_test.sh: the list of claims (tests/claims/) fits the tree: the documents say what it quotes, its tests exist, its
# faults apply, and docs/claims.md has its table. That the tests fail with the faults is shown by tests/claims/run, which takes long.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
command -v python3 >/dev/null || { skip all "no python3"; finish; }
export PYTHONPATH=$HUSK_SOURCE/tests/claims PYTHONDONTWRITEBYTECODE=1
cd "$scratch" || exit 1

problems=$("$HUSK_SOURCE/tests/claims/run" --check)
contains "the list fits the tree" "$problems" "claims: "
"$HUSK_SOURCE/tests/claims/run" --table >table
sed -n '/^<!-- table -->$/,/^<!-- end -->$/p' "$HUSK_SOURCE/docs/claims.md" | sed '1d;$d' >shown
same_file "docs/claims.md has its table" shown table

# A small tree with one claim, which is then made wrong in each way.
mkdir -p tree/docs tree/tests/claims tree/tests/unit
printf 'A guest cannot\nreach it.\n' >tree/docs/trust.md
printf 'Nothing.\n' >tree/SECURITY.md
printf 'TEST(cannot_reach) {\n}\n' >tree/tests/unit/reach_test.c
printf 'check "cannot reach" true\n' >tree/tests/unit/reached_test.sh
printf 'int a;\nint limit = 1;\n    int b;\n' >tree/limit.c
cat >good <<'END'
title: Reach
claim reach: no guest reaches it
says: docs/trust.md: A guest cannot reach it.
test: unit/reach cannot_reach
fault: limit.c
- int limit = 1;
+ int limit = 2;
END

# What is said of the list after sed changed it.
said() { # SED-EXPRESSION
    sed "$1" good >tree/tests/claims/one.claims
    python3 -c 'import claims, pathlib
root = pathlib.Path("tree")
try:
    print("\n".join(claims.problems(root, claims.read(root))))
except ValueError as problem:
    print(problem)' 2>&1
}

same "a good list" "$(said '')" ""
same "a test of a shell suite" "$(said 's|unit/reach cannot_reach|unit/reached cannot reach|')" ""
contains "words that the document does not have" "$(said 's/A guest cannot/No guest can/')" 'docs/trust.md does not say "No guest can reach it."'
contains "another document" "$(said 's|docs/trust.md|docs/x.md|')" "not one of the documents"
contains "no words" "$(said '/^says/d')" "reach: quotes no document"
contains "a test that is gone" "$(said 's/ cannot_reach/ can_reach/')" "there is no test unit/reach can_reach"
contains "part of a test's name" "$(said 's/ cannot_reach/ cannot/')" "there is no test unit/reach cannot"
contains "a suite that is gone" "$(said 's|unit/reach|unit/reaches|')" "there is no test unit/reaches cannot_reach"
contains "a check that is gone" "$(said 's|unit/reach cannot_reach|unit/reached can reach|')" "there is no test unit/reached can reach"
contains "no fault" "$(said '/^fault/,$d')" "reach: has no fault"
contains "a fault whose lines are gone" "$(said 's/^- int limit = 1;/- int limit = 3;/')" "has the lines of the fault 0 times"
contains "a fault that begins within a line" "$(said 's/^- int limit = 1;/- limit = 1;/')" "has the lines of the fault 0 times"
contains "a fault in a file that is gone" "$(said 's/limit.c/limits.c/')" "limits.c"
contains "a fault that changes nothing" "$(said 's/^+ int limit = 2;/+ int limit = 1;/')" "the fault changes nothing in limit.c"
contains "lines of no fault" "$(said '/^fault/d')" "no fault is begun"
contains "a line of another kind" "$(said 's/^test/tests/')" "no such line: tests"
contains "a reason and a test" "$(said '$a reason: nobody knows')" "has a reason why there is no test, and a test"
same "a reason alone" "$(said 's/^test.*/reason: it is the kernel/; /^fault/,$d')" ""
printf 'int limit = 1;\n' >>tree/limit.c
contains "a fault whose lines are there twice" "$(said '')" "has the lines of the fault 2 times"
cat good good >two && mv two good
contains "a name that is there twice" "$(said '')" "reach: is there twice"

# What is a failure of the test.
judged() { # STATUS OUTPUT
    python3 -c 'import sys
import claims
claim = claims.Claim("reach", "", "", suite="unit/reach", test="cannot_reach", prints="reach: still there")
print(claims.judge(claim, int(sys.argv[1]), sys.argv[2]))' "$1" "$2"
}
same "a test that passes" "$(judged 0 'reach: 1 passed, 0 failed, 0 skipped')" passed
same "a test that fails" "$(judged 1 'a.c:3: cannot_reach: CHECK(false)')" failed
same "a test that dies" "$(judged 139 'cannot_reach: died of a signal in this test')" failed
same "a suite that ended itself" "$(judged 1 'reach: still there')" failed
same "another test that fails" "$(judged 1 'a.c:3: other: CHECK(false)')" broken
same "a test that is skipped" "$(judged 0 'skipped: cannot_reach: no KVM')" skipped
same "a suite in which nothing ran" "$(judged 0 'reach: 0 passed, 0 failed, 0 skipped')" broken
finish
