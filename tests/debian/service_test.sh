# tests/debian/service_test.sh: husk serve as a service in a fresh Debian 12, which is booted by systemd-nspawn: with all that the unit takes
# from it; by a port and by systemd's socket; reloaded, upgraded, purged.
. "$(dirname "$0")/system.sh"
command -v systemd-nspawn >/dev/null || { skip all "no systemd-nspawn (tools/install-deps bare)"; finish; }
make_packages
ls "$new"/husk-serve_*.deb >/dev/null 2>&1 || { skip all "husk-serve was not built"; finish; }
[ -f "$HUSK_BUILD/examples/cgi.wasm" ] || { skip all "no compiled example to serve"; finish; }
start_system
[ -n "$has_kvm" ] || { skip all "no usable /dev/kvm"; finish; }
umount -R "$root/proc" "$root/dev"

# ---- the machine: a network of its own; /dev/kvm is of the group kvm, as udev would make it ----
stop_machine() {
    [ -z "${machine:-}" ] || { machine_runs systemctl --no-block poweroff 2>/dev/null; timeout 20 tail --pid="$machine" -f /dev/null || kill -KILL "$machine"; }
    leave
}
machine_runs() { # COMMAND…
    nsenter -t "$leader" -m -u -i -n -p -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"
}
mknod -m 660 "$scratch/kvm" c 10 232
chgrp "$(inside getent group kvm | cut -d : -f 3)" "$scratch/kvm"
mkdir -p "$root/srv" "$root/etc/husk/serve"
cp "$HUSK_BUILD/examples/cgi.wasm" "$root/srv/"
inside sh -c 'dpkg -i /new/*.deb' >"$scratch/log" 2>&1 || give_up "dpkg -i" "$scratch/log"
before=$(cd "$root" && find etc var/cache lib/systemd -name '*husk*' | LC_ALL=C sort)
echo '/ = /srv/cgi.wasm' >"$root/etc/husk/serve/shop.routes"
echo 'OPTIONS="--listen 127.0.0.1:8080 --metrics 127.0.0.1:9090 --access-log"' >"$root/etc/husk/serve/shop.env"
systemd-nspawn -q --register=no --keep-unit --private-network -D "$root" --bind="$scratch/kvm:/dev/kvm" -b </dev/null >"$scratch/machine.log" 2>&1 9>&- &
machine=$!
trap stop_machine EXIT
leader=
for ((i = 0; i < 100 && ${#leader} == 0; i++)); do
    sleep 0.2
    leader=$(cut -d ' ' -f 1 "/proc/$machine/task/$machine/children" 2>/dev/null)
done
[ -n "$leader" ] || { skip all "systemd-nspawn starts no machine here: $(head -n 1 "$scratch/machine.log")"; finish; }
for ((i = 0; i < 300; i++)); do
    case $(machine_runs systemctl is-system-running 2>/dev/null) in running | degraded) break ;; esac
    sleep 0.2
done
get() { # ARGUMENT…: retried until the service listens
    machine_runs curl -s --retry 100 --retry-delay 1 --retry-connrefused --retry-max-time 120 "$@"
}
property() { # NAME
    machine_runs systemctl show -P "$1" husk-serve@shop
}
journal() {
    machine_runs journalctl --no-pager -u husk-serve@shop -n 40
}

# ---- by a port ----
machine_runs systemctl start husk-serve@shop
contains "it serves" "$(get http://127.0.0.1:8080/)" "Hello, world!"
[ "$failed" = 0 ] || journal
contains "it counts" "$(get http://127.0.0.1:9090/metrics)" 'husk_serve_requests_total{route="/",code="200"} 1'
pid=$(property MainPID)
check "it is no root" test "$(machine_runs stat -c %u "/proc/$pid")" -ge 61184 # the first of systemd's dynamic users
same "no process of it has capabilities" "$(machine_runs sed -n 's/^Cap\(Eff\|Bnd\):\t0*$/none/p' "/proc/$pid/status" | sort -u)" none
contains "no writable code" "$(property MemoryDenyWriteExecute)" yes
for _ in 1 2 3 4 5 6 7 8 9 10; do
    journal | grep -q 'goes on with the optimised image' && break
    sleep 1
done
contains "the compiler runs in it, also in the background" "$(journal)" "goes on with the optimised image"
machine_runs systemctl reload husk-serve@shop
sleep 1
contains "reload" "$(journal)" reloaded
same "reload: the same process" "$(property MainPID)" "$pid"
contains "systemd's rating is that of the documents" "$(machine_runs systemd-analyze security --no-pager husk-serve@shop)" \
    "Overall exposure level for husk-serve@shop.service: 1.3 OK"
machine_runs sh -c 'dpkg -i /new/husk-serve_*.deb' >/dev/null 2>&1
check "an upgrade starts it anew" test "$(property MainPID)" != "$pid"
contains "an upgrade: it serves" "$(get http://127.0.0.1:8080/)" "Hello, world!"
machine_runs systemctl stop husk-serve@shop
same "stop" "$(property Result) $(property ExecMainStatus)" "success 0"

# ---- by a socket ----
echo 'OPTIONS=' >"$root/etc/husk/serve/shop.env"
machine_runs systemctl enable --now husk-serve@shop.socket 2>/dev/null
same "the socket: who may connect" "$(machine_runs stat -c '%a %G' /run/husk-serve/shop.socket)" "660 www-data"
contains "the socket: the first connection starts it" "$(get --unix-socket /run/husk-serve/shop.socket http://any/)" "Hello, world!"
machine_runs systemctl restart husk-serve@shop
contains "the socket: it is there while the service starts" "$(get --unix-socket /run/husk-serve/shop.socket http://any/)" "Hello, world!"
check "its cache" test -n "$(find "$root/var/cache/private/husk-serve/shop" -name '*.husk')"

# ---- and gone ----
machine_runs dpkg --purge husk-serve >"$scratch/log" 2>&1 || fail "purge" "$(tail -n 20 "$scratch/log")"
same "purge: no process is left" "$(machine_runs sh -c 'grep -l husk /proc/[0-9]*/comm' 2>/dev/null)" ""
same "purge: what the administrator wrote stays" "$(cd "$root/etc/husk" && find . -type f | LC_ALL=C sort)" "./serve/shop.env
./serve/shop.routes"
rm -rf "$root/etc/husk"
same "purge: nothing is left" "$(cd "$root" && find etc var/cache lib/systemd run -name '*husk*' | LC_ALL=C sort)" \
    "$(grep -v -e husk-serve -e '^etc/husk/serve' <<<"$before" | grep -vx etc/husk)"
finish
