# tests/cli/doctor_test.sh: husk doctor tells what is needed from what only makes husk faster: a cache that cannot be used is a warning,
# a missing compiler or KVM is an error. And what husk run does where there is no place for a cache.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
cd "$scratch" || exit 1
unset HUSK_CACHE_DIR XDG_CACHE_HOME
export HOME=$scratch/home
has_kvm=0
if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then has_kvm=1; fi

# doctor NAME COMMAND…: the exit code is 0 where there is KVM, else 1; $out is what it printed.
doctor() {
    local name=$1 code
    shift
    out=$("$@" 2>&1 </dev/null)
    code=$?
    same "$name: exit code" $code $((1 - has_kvm))
}

doctor "a usable cache" "$husk" doctor
contains "a usable cache" "$out" "ok       cache      $HOME/.cache/husk"
doctor "XDG_CACHE_HOME" env XDG_CACHE_HOME="$scratch/xdg" "$husk" doctor
contains "XDG_CACHE_HOME" "$out" "ok       cache      $scratch/xdg/husk"
doctor "a relative XDG_CACHE_HOME is ignored" env XDG_CACHE_HOME=xdg "$husk" doctor
contains "a relative XDG_CACHE_HOME is ignored" "$out" "ok       cache      $HOME/.cache/husk"

for home in -uHOME HOME= HOME=relative; do
    doctor "no cache: $home" env "$home" "$husk" doctor
    contains "no cache: $home" "$out" "warning  cache      no folder for compiled modules"
    contains "no cache: what to do" "$out" "set HUSK_CACHE_DIR"
    same "no cache: nothing is left behind" "$(ls)" "home
xdg"
done
doctor "an empty environment" env -i "$husk" doctor
contains "an empty environment" "$out" "ok       compiler"
: >file
doctor "a cache that cannot be made" env HUSK_CACHE_DIR="$scratch/file/cache" "$husk" doctor
contains "a cache that cannot be made" "$out" "warning  cache      cannot make the cache folder $scratch/file/cache: Not a directory"
doctor "as JSON" env -uHOME "$husk" doctor --json
contains "as JSON" "$out" '{"check":"cache","ok":false,"level":"warning",'
contains "as JSON: the compiler" "$out" '{"check":"compiler","ok":true,"level":"ok",'
if [ $has_kvm = 1 ]; then
    contains "as JSON: the whole" "$out" '],"ok":true}'
    contains "the last line" "$(env -uHOME "$husk" doctor | tail -n 1)" "Modules can be compiled and run"
    # The kernel of this machine may be a bad one.
    warnings=$("$husk" doctor | grep -c '^warning  kernel')
    same "no warning, no last line" "$("$husk" doctor | grep -c husk-doctor)" "$warnings"
fi

# Kernels that are known to be bad: uname(2) is replaced. (A sanitizer wants to be the first library.)
cat >other_kernel.c <<'EOT'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
int uname(struct utsname *name) {
    memset(name, 0, sizeof *name);
    snprintf(name->release, sizeof name->release, "%s", getenv("KERNEL"));
    return 0;
}
EOT
if ldd "$husk" | grep -qE 'lib[at]san' || ! cc -shared -fPIC -o other_kernel.so other_kernel.c 2>/dev/null; then
    skip "kernels" "a sanitizer, or no C compiler"
else
    kernel() { # RELEASE
        LD_PRELOAD=$PWD/other_kernel.so KERNEL=$1 "$husk" doctor 2>&1 | grep -E '^[a-zA-Z]+ +kernel '
    }
    contains "a bad kernel" "$(kernel 6.12.46)" "warning  kernel     6.12.46, CVE-2025-40300 (fixed in 6.12.47): "
    same "a good kernel" "$(kernel 6.18.38)" "ok       kernel     6.18.38, without a fault that this husk knows of"
    same "a distribution's kernel" "$(kernel 6.8.0-101-generic)" \
        "ok       kernel     6.8.0-101-generic, numbered by its distribution: see its security notices"
    doctor "a bad kernel is a warning" env LD_PRELOAD="$PWD/other_kernel.so" KERNEL=6.12.46 "$husk" doctor
fi

mkdir -p lone/bin
cp "$husk" lone/bin
check "a program that knows another place" "$HUSK_SOURCE/tools/set-worker-folder" "$PWD/lone/libexec/husk" lone/bin/husk
out=$(lone/bin/husk doctor 2>&1)
same "no compiler: exit code" $? 1
contains "no compiler" "$out" "MISSING  compiler"
contains "no compiler: the last line" "$out" "Something is missing"
out=$("$husk" doctor --json >/dev/full 2>&1)
same "nowhere to write: exit code" $? 125

# husk run without a place for the cache: it runs, and says why every run takes that long.
need_kvm
printf '\0asm\1\0\0\0\1\5\1\x60\0\1\x7f\3\2\1\0\7\5\1\1f\0\0\xa\6\1\4\0\x41\x2a\xb' >answer.wasm # (func (export "f") (result i32) (i32.const 42))
same "run: the result" "$(env -uHOME "$husk" run answer.wasm --invoke f 2>warning)" 42:i32
contains "run: the warning" "$(cat warning)" "warning: the compiled module is not cached: no folder for compiled modules"
same "run --no-cache does not warn" "$(env -uHOME "$husk" run --no-cache answer.wasm --invoke f 2>&1)" 42:i32
same "run with a cache does not warn" "$("$husk" run answer.wasm --invoke f 2>&1)" 42:i32
finish
