# tests/packages/units_test.sh: systemd understands the units of husk serve, and rates what they leave open. Whether the service runs with
# it is tried in tests/debian/service_test.sh.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
command -v systemd-analyze >/dev/null || { skip all "no systemd-analyze"; finish; }
units=$HUSK_SOURCE/packaging/systemd
cd "$scratch" || exit 1
cp "$units"/husk-serve@.* .
sed -i 's#^ExecStart=husk #ExecStart=/bin/true #; /^Documentation=/d' husk-serve@.service husk-serve@.socket # neither is installed here
said=$(SYSTEMD_LOG_LEVEL=info systemd-analyze --man=no verify ./husk-serve@.service ./husk-serve@.socket 2>&1)
same "verify" "$? $said" "0 "
sed 's/^DeviceAllow=/DeviceAlow=/' husk-serve@.service >wrong@.service
contains "verify says what it does not know" "$(systemd-analyze --man=no verify ./wrong@.service 2>&1)" DeviceAlow
for limit in 20 10; do
    systemd-analyze security --offline=true --threshold=$limit ./husk-serve@.service >rating 2>&1
    echo $? >>codes
done
same "security: at most 2.0 of 10 are open, and more than 1.0" "$(tr '\n' ' ' <codes)" "0 1 "
contains "documented is what systemd says" "$(cat "$HUSK_SOURCE/docs/installing.md")" "$(sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]* [A-Z]*\).*/\1/p' rating)"
finish
