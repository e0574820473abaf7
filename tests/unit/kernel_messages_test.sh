# tests/unit/kernel_messages_test.sh: which of the kernel's lines fail a suite (tools/kernel-messages). The lines are made here; that a suite
# fails by what the kernel really says cannot be tried without saying it, which would fail those that run beside this one.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
judge() { # NAME SUITE HOST CODE LINE…: $out is what it printed
    local name=$1 suite=$2 host=$3 code=$4
    shift 4
    out=$(printf '%s\n' "$@" | HUSK_KERNEL_MESSAGES=$scratch/list "$HUSK_SOURCE/tools/kernel-messages" judge "$suite" "$host")
    same "$name" $? "$code"
}
cat >"$scratch/list" <<'LIST'
# suite  host  expression
kvm/loud  svm  ^kvm_amd: a word about [0-9]+$
kvm/loud  any  ^kvm: a common word
every  pvm  ^kvm: a harmless word
LIST

judge "nothing" kvm/quiet svm 0
same "nothing: says nothing" "$out" ""
judge "not about KVM" kvm/quiet svm 0 "eth0: link is up" "clocksource: switched to tsc"
judge "about KVM" kvm/quiet svm 1 "eth0: link is up" "kvm_amd: a word about 5" "[   12.5] kvm_amd: a word about 5"
contains "about KVM: how often" "$out" "2 times: kvm_amd: a word about 5"
check "about KVM: no other line" test "$(wc -l <<<"$out")" = 1
judge "a livelock, whomever it names" kvm/quiet pvm 1 "bash[17]: 128 page faults in a row at 0x5: refault livelock"
judge "a broken kernel" kvm/quiet vmx 1 "BUG: unable to handle page fault for address: 0"
judge "allowed" kvm/loud svm 0 "kvm_amd: a word about 17" "kvm: a common word"
judge "allowed on another host only" kvm/loud vmx 1 "kvm_amd: a word about 17"
judge "allowed on any host" kvm/loud vmx 0 "kvm: a common word"
judge "allowed to every suite" kvm/quiet pvm 0 "kvm: a harmless word"
judge "allowed to every suite, on another host" kvm/quiet svm 1 "kvm: a harmless word"
judge "more than what is allowed" kvm/loud svm 1 "kvm_amd: a word about 17 and more" "kvm: a common word"
check "more than what is allowed: only that" test "$(wc -l <<<"$out")" = 1

expects() { HUSK_KERNEL_MESSAGES=$scratch/list "$HUSK_SOURCE/tools/kernel-messages" expects "$1" "$2"; }
check "it has rows" expects kvm/loud pvm
expects kvm/quiet pvm
same "it has none of its own" $? 1

# The list itself: three columns, hosts that there are, suites that there are.
while read -r named host expression; do
    check "$named is a suite" test -e "$HUSK_SOURCE/tests/${named}_test.c" -o -e "$HUSK_SOURCE/tests/${named}_test.sh" -o "$named" = every
    check "$named: host $host" test "$host" = pvm -o "$host" = svm -o "$host" = vmx -o "$host" = any
    check "$named: $expression" test -n "$expression"
done < <(grep -v -e '^#' -e '^$' "$HUSK_SOURCE/tests/kernel-messages.list")
finish
