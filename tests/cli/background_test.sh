# tests/cli/background_test.sh: husk run starts an uncached module unoptimised, and a job makes the optimised image behind it: that there
# is one, what it leaves alone, how it ends, what the next run says. A job that must not end waits for its turn, whose file is locked.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
export HUSK_CACHE_DIR=$scratch/cache
unset HUSK_BACKGROUND
cd "$scratch" || exit 1
need_wat2wasm
[ -x "$HUSK_BUILD/husk-compile-worker" ] || { skip all "built without the compiler"; finish; }

echo "(module (memory 1) (data (i32.const 0) \"$(head -c 6000 /dev/zero | tr '\0' m)\") (func (export \"f\") (result i32) i32.const 42))" >m.wat
wat2wasm m.wat -o m.wasm

hold() { # jobs wait from now on
    mkdir -p cache
    exec 9>cache/background.turn
    flock 9
}
release() { exec 9>&-; }
jobs_are() { "$husk" cache jobs | cut -d ' ' -f 3 | tr '\n' ' '; } # the states
job_pid() { # of the only job, once it has said so
    local pid=0 i
    for ((i = 0; i < 1000; i++)); do
        pid=$("$husk" cache jobs --json | grep -o '"pid":[0-9]*' | cut -d : -f 2)
        [ "${pid:-0}" = 0 ] || break
        sleep 0.02
    done
    echo "${pid:-0}"
}
# Until no job waits or works. They have the lowest priority, and other tests take all of the CPU: root can give them more.
done_jobs() {
    local i pid child task
    for ((i = 0; i < 4000; i++)); do
        case $(jobs_are) in
        *waits* | *works*) ;;
        *) return 0 ;;
        esac
        for pid in $("$husk" cache jobs --json | grep -o '"pid":[0-9]*' | cut -d : -f 2); do
            for child in "$pid" $(cat "/proc/$pid/task/$pid/children" 2>/dev/null); do
                chrt -a -o -p 0 "$child" 2>/dev/null
                for task in "/proc/$child/task/"*; do renice -n 0 -p "${task##*/}" 2>/dev/null; done
            done
        done >/dev/null
        sleep 0.05
    done
    return 1
}
forget() { rm -rf cache; }
run() { # ARGUMENT…: what f returns, and how the image came
    "$husk" run --stats "$@" --invoke f m.wasm 2>stats </dev/null
    grep -o 'load from the cache\|compile at -O0\|compile ' stats
}
level() { "$husk" cache list --json | grep -o '"level":[0-9]' | tr '\n' ' '; }

# ---- the first run and the later ones ----
hold
same "a first run" "$(run)" $'42:i32\ncompile at -O0'
same "has a job" "$(jobs_are)" "waits "
same "says nothing, not on a terminal" "$(grep -v '^husk: ' stats)" ""
same "a second run, while it waits" "$(run)" $'42:i32\nload from the cache'
same "has the same job" "$(jobs_are)" "waits "
contains "the list has the file" "$("$husk" cache jobs)" " m.wasm (5.9 KiB) to -O2"
same "the pipe of a run ends with it" "$("$husk" run --invoke f m.wasm | timeout 60 cat)" 42:i32
same "only one image is there" "$(ls cache | grep -c 'husk$')" 1
release
check "the job ends" done_jobs
same "it is not listed" "$("$husk" cache jobs)" ""
same "the next run" "$(run)" $'42:i32\nload from the cache'
same "both images are there" "$(level | tr " " "\n" | sort | xargs)" "level:0 level:2"
same "and no job is begun" "$(jobs_are)" ""
rm cache/*.seen 2>/dev/null
same "nor for a file that is not known" "$(run)$(jobs_are)" $'42:i32\nload from the cache'

# ---- who has none ----
for how in --no-background -O2 -O1 -O0 --no-cache; do
    forget
    same "no job: $how" "$(run "$how")$(jobs_are)" $'42:i32\ncompile '
done
forget
same "no job: HUSK_BACKGROUND=0" "$(HUSK_BACKGROUND=0 run)$(jobs_are)" $'42:i32\ncompile '
forget
wat2wasm - -o small.wasm <<<'(module (func (export "f") (result i32) i32.const 7))'
same "no job: a small module" "$("$husk" run --invoke f small.wasm)$(jobs_are)" 7:i32
check "husk snapshot" "$husk" snapshot m.wasm -o s.husk
same "no job: husk snapshot" "$(jobs_are)" ""
contains "a snapshot is of the default level" "$("$husk" inspect --json s.husk)" '"opt_level":2'
check "husk compile" "$husk" compile m.wasm -o c.husk
same "no job: husk compile, an image" "$("$husk" run --invoke f c.husk)$(jobs_are)" 42:i32
forget
HUSK_CACHE_DIR=/proc/husk "$husk" run --invoke f m.wasm >out 2>err
same "a folder that cannot be written" "$(cat out)" 42:i32
same "one line says so" "$(grep -c . err)" 1
same "no folder" "$(HUSK_CACHE_DIR='' XDG_CACHE_HOME='' HOME='' "$husk" run --invoke f m.wasm 2>/dev/null)" 42:i32

# ---- modules that are not files, or not for long ----
hold
cat m.wasm | "$husk" run --invoke f - >out 2>/dev/null
same "from a pipe" "$(cat out) $(jobs_are)" "42:i32 waits "
cp m.wasm gone.wasm
"$husk" cache stop && "$husk" cache forget
"$husk" run --invoke f gone.wasm >/dev/null && rm gone.wasm
same "a module that is removed" "$(jobs_are)" "waits "
release
check "is optimised all the same" done_jobs
same "and found by another file" "$(run)$(level | wc -w)" $'42:i32\nload from the cache2'
forget
hold
"$husk" run --link lib=m.wasm --invoke f m.wasm >out 2>/dev/null
same "linked modules" "$(cat out) $(jobs_are)" "42:i32 waits "
release
check "are optimised" done_jobs
same "and found" "$("$husk" run --stats --link lib=m.wasm --invoke f m.wasm 2>&1 >/dev/null | grep -o 'load from the cache')$(level | wc -w)" "load from the cache2"

# ---- one job, and how it ends ----
forget
hold
for i in 1 2 3; do "$husk" run --invoke f m.wasm >"out.$i" 2>&1 & done
wait $(jobs -p)
same "runs at once" "$(cat out.1 out.2 out.3 | sort -u)" 42:i32
same "begin one job" "$(jobs_are)" "waits "
pid=$(job_pid)
check "its process is there" kill -0 "$pid"
same "without a terminal" "$(ps -o tty= -p "$pid" | tr -d ' ')" "?"
check "in another session" test "$(ps -o sid= -p "$pid" | tr -d ' ')" != "$(ps -o sid= -p $$ | tr -d ' ')"
same "without a parent here" "$(ps -o ppid= -p "$pid" | tr -d ' ' | grep -c "^$$\$")" 0
kill -9 "$pid"
for ((i = 0; i < 500; i++)); do [ "$(jobs_are)" = "waits " ] || break; sleep 0.05; done
same "killed" "$(jobs_are)" "failed "
same "is begun again" "$(run)$(jobs_are)" $'42:i32\nload from the cachewaits '
contains "as the second attempt" "$("$husk" cache jobs --json)" '"attempts":2'
key=$("$husk" cache jobs | cut -c 1-8)
"$husk" cache stop xyz 2>err
same "no such key" "$? $(cat err)" "125 husk cache: xyz: no job that waits or works has such a key (husk cache jobs)"
check "stop" "$husk" cache stop "$key"
same "stopped" "$(jobs_are)" "stopped "
same "is not begun again" "$(run)$(jobs_are)" $'42:i32\nload from the cachestopped '
check "forget" "$husk" cache forget "$key"
same "forgotten" "$(run)$(jobs_are)" $'42:i32\nload from the cachewaits '
check "stop all" "$husk" cache stop
same "all are stopped" "$(jobs_are)" "stopped "
same "-O2 waits all the same" "$(run -O2)" $'42:i32\ncompile '
same "and its image is found" "$(run)" $'42:i32\nload from the cache'
release

# ---- on a terminal ----
forget
hold
if command -v script >/dev/null; then
    on_terminal() { script -qec "$husk run --invoke f m.wasm" /dev/null </dev/null | tr -d '\r' | sed $'s/.*\e\\[K//'; } # without what was erased
    same "on a terminal" "$(on_terminal)" "husk run: m.wasm runs unoptimised: that is done in the background, for later runs (husk cache jobs)
42:i32"
    HUSK_BACKGROUND=0 on_terminal >out
    same "without a job" "$(cat out)" 42:i32
    pid=$(job_pid)
    check "its job outlives the terminal" kill -0 "$pid"
else
    skip "on a terminal" "no script(1)"
fi
release
check "and ends" done_jobs

# ---- limits ----
# Functions that are soon compiled without optimisation, and take seconds with it.
{
    echo "(module (memory 16) $(head -c 6000 /dev/zero | tr '\0' ' ')"
    for ((i = 0; i < 700; i++)); do
        echo "(func (export \"f$i\") (param i32 i32) (result i32) (local i32 i32)"
        for ((k = 0; k < 4; k++)); do
            echo "(local.set 2 (i32.const 0)) (loop
                (i32.store offset=$((k * 4000 + i)) (local.get 2) (i32.add (i32.load offset=$((k * 8000))
                    (i32.mul (local.get 2) (local.get 1))) (i32.xor (local.get 3) (local.get 0))))
                (local.set 3 (i32.add (local.get 3) (i32.load16_u offset=$k (local.get 2))))
                (br_if 0 (i32.lt_u (local.tee 2 (i32.add (local.get 2) (i32.const 4))) (local.get 0))))"
        done
        echo "(local.get 3))"
    done
    echo '(func (export "f") (result i32) i32.const 42))'
} >slow.wat
wat2wasm slow.wat -o slow.wasm
forget
"$husk" run -O0 --invoke f slow.wasm >/dev/null # is in the cache, or the limit might be too low for it
same "with a limit" "$("$husk" run --compile-cpu 1s --invoke f slow.wasm 2>&1)" 42:i32
check "the job ends" done_jobs
same "at its limit" "$(jobs_are)" "failed "
"$husk" run --compile-cpu 1s --invoke f slow.wasm >out 2>err
same "the next run" "$(cat out)" 42:i32
same "says so in one line" "$(grep -c . err)" 1
contains "which limit" "$(cat err)" "husk run: slow.wasm runs unoptimised: optimising it failed on $(date +%Y)"
contains "and what to do" "$(cat err)" "compiling took more than 1 seconds of CPU time: try a lower optimisation level or a higher limit (husk: --compile-cpu-limit"
same "and begins no other" "$(jobs_are)" "failed "
same "--json has no such line" "$("$husk" run --json --compile-cpu 1s --invoke f slow.wasm 2>&1)" '{"outcome":"returned","results":[{"type":"i32","value":42}]}'
same "a higher limit" "$("$husk" run --compile-cpu 10m --invoke f slow.wasm 2>&1)" 42:i32
check "another job ends" done_jobs
same "with the image" "$(level | wc -w)$(jobs_are)" 2
forget
"$husk" run -O0 --invoke f slow.wasm >/dev/null
"$husk" run --compile-memory 1M --invoke f slow.wasm >/dev/null 2>&1
check "a job with little memory ends" done_jobs
contains "and the next run says so" "$("$husk" run --compile-memory 1M --invoke f slow.wasm 2>&1)" "the compiler needed more than its 1 MiB of memory"

# ---- a disk without room ----
if [ "$(id -u)" = 0 ] && mkdir -p full && mount -t tmpfs -o size=300k none full 2>/dev/null; then
    HUSK_CACHE_DIR=$scratch/full/cache "$husk" run --invoke f slow.wasm >out 2>err
    same "a full disk" "$(cat out)" 42:i32
    contains "says so" "$(cat err)" "the compiled module is not cached"
    same "no job" "$(HUSK_CACHE_DIR=$scratch/full/cache "$husk" cache jobs)" ""
    umount full
else
    skip "a full disk" "no right to mount one"
fi
check "nothing is left" done_jobs
finish
