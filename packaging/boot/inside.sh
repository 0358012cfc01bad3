#!/bin/sh
# Runs inside the booted machine, as a unit of its own, once a boot: the first boot installs, works, upgrades,
# breaks and repairs; the second one finds all data, delivers, removes and purges. Each check prints a line
# "ok" or "NOT OK"; the last line says that all checks were reached.
set -u
export LC_ALL=C TERM=dumb DEBIAN_FRONTEND=noninteractive
here=/var/lib/boot-test
cd "$here" || exit 1
boot=$(($(cat boot 2>/dev/null || echo 0) + 1))
echo "$boot" >boot

say() { echo "$*" >>results; }
check() { # check WHAT COMMAND...
    what=$1
    shift
    if "$@" >last 2>&1; then
        say "ok      $what"
    else
        say "NOT OK  $what"
        sed 's/^/        /' last | tail -n 20 >>results
    fi
}
eventually() { # eventually COMMAND...: until it holds, for a minute at most
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || return 1
        sleep 0.1
    done
}
pos() { runuser -u pos -- "$@"; }
is() { [ "$1" = "$2" ] || { echo "found '$1', expected '$2'"; return 1; }; }
has() { grep -q -- "$1" || { echo "without '$1'"; return 1; }; }
main_pid() { systemctl show -p MainPID --value resyncd.service; }
running() { [ "$(main_pid)" != 0 ] && resyncd --json status >/dev/null 2>&1; }
another_pid() { running && [ "$(main_pid)" != "$1" ]; }
live() { resyncd export | wc -l; }
record() { # record ENTITY KEY [ARGUMENT...]
    entity=$1 key=$2
    shift 2
    pos resyncd record --type SALE --entity "$entity" --action CREATE --error 'connect ETIMEDOUT' --key "$key" "$@"
}

# ---- the first boot

installed() {
    check 'it installs' dpkg -i ./one.deb
    check 'the service runs' eventually running
    for unit in resyncd.service resyncd.socket resyncd-admin.socket resyncd-alert.path; do
        check "$unit is active" systemctl is-active "$unit"
        check "$unit starts with the machine" systemctl is-enabled "$unit"
    done
    check 'it took the sockets that were passed' sh -c 'journalctl -u resyncd | grep -c event=activation_socket_used | grep -qx 2'
    check 'without an upstream it says that nothing will be delivered' sh -c 'journalctl -u resyncd | grep -q event=no_upstream'
    check 'the installed size is under 9,000 kB' sh -c "[ $(dpkg-query -W -f '${Installed-Size}' resyncd) -lt 9000 ]"
    check 'the watchdog is on' is "$(systemctl show -p WatchdogUSec --value resyncd)" 1min
    check 'the manual is there' test -s /usr/share/man/man5/resyncd.toml.5.gz
}

who_may() {
    useradd -m pos && usermod -aG resyncd pos
    useradd -m other
    check 'a member of the group records' record s-1 key-1
    runuser -u other -- resyncd record --type SALE --entity x --action CREATE --error e >refused 2>&1
    check 'another user is refused' is $? 3
    check 'and is told of the group' sh -c 'grep -q "group" refused'
    pos resyncd list >refused 2>&1
    check 'a member is no administrator' sh -c 'grep -q sudo refused'
    check 'what it recorded is its own' sh -c "resyncd export | grep -q '\"source_uid\":$(id -u pos)'"
}

configured() {
    # The configuration is edited by hand, and a secret is added that only root can read.
    cat >>/etc/resyncd/resyncd.toml <<'END'
[upstream.hq]
url = "http://127.0.0.1:8099/sync"
token_file = "hq.token"
END
    sed -i 's/^#*many_failures = .*/many_failures = { count = 3, window = "1h" }/' /etc/resyncd/resyncd.toml
    (umask 077 && echo tok-boot-test >/etc/resyncd/hq.token)
    mkdir -p /etc/systemd/system/resyncd.service.d
    cp /usr/share/doc/resyncd/examples/credentials.conf /etc/systemd/system/resyncd.service.d/
    systemctl daemon-reload
    check 'the configuration is right' resyncd config check
    check 'it starts with a credential' systemctl restart resyncd
    check 'a reload is answered' systemctl reload resyncd
    echo 'wrong = ' >/etc/resyncd/resyncd.d/bad.toml
    check 'a reload with a wrong file fails' sh -c '! systemctl reload resyncd'
    check 'and what runs goes on' running
}

mended() {
    # The file is still wrong: a restart fails, and a client waits until the file is corrected.
    before=$(main_pid)
    systemctl --no-block restart resyncd
    gone() { [ "$(main_pid)" != "$before" ]; }
    eventually gone
    # A client waits 8 s; on a machine whose disk stalls, the restarts below take longer, and it repeats.
    patient() { until record s-2 key-2 >waiting 2>&1; do grep -q 'no agent answered' waiting || return 1; done; }
    patient &
    waiter=$!
    check 'a wrong configuration is tried again, not given up' eventually sh -c '[ "$(systemctl show -p NRestarts --value resyncd)" -ge 2 ]'
    check 'its socket stays' systemctl is-active resyncd.socket
    rm /etc/resyncd/resyncd.d/bad.toml
    check 'and who waited is served when it is mended' wait "$waiter"
    sed 's/^/        /' waiting
    check 'the service runs again' eventually running
}

upgraded() {
    : >acknowledged
    : >refusals
    cat >loop.sh <<'END'
n=0
while [ ! -e stop ]; do
    n=$((n + 1))
    until resyncd record --type SALE --entity "u-$n" --action CREATE --error x --key "up-$n" >/dev/null 2>told; do
        cat told >>refusals
        # A client that connected just before the stop gets "send it again", or a reset if the agent had not read its
        # request yet. One that connected during the stop waits for the new agent; a stop may take 10 s, longer than a
        # client waits. None of these is a refusal: the client repeats the request under its key.
        grep -q 'send it again\|Connection reset\|no agent answered' told || echo "REFUSED up-$n" >>refusals
        sleep 0.05
    done
    echo "up-$n" >>acknowledged
done
END
    chown pos . acknowledged refusals && chmod 777 .
    runuser -u pos -- sh loop.sh &
    loop=$!
    more() { [ "$(wc -l <acknowledged)" -ge $(($1 + 20)) ]; }
    eventually more 0
    before=$(main_pid)
    check 'it is upgraded' dpkg -i ./two.deb
    check 'the new one runs' eventually another_pid "$before"
    eventually more "$(wc -l <acknowledged)"
    touch stop
    wait "$loop"
    say "        $(wc -l <acknowledged) acknowledged while it was upgraded, $(grep -c 'send it again' refusals) told to send again"
    check 'nobody was refused' sh -c '! grep REFUSED -A3 -B3 refusals'
    check 'all of them are there' is "$(resyncd export --type SALE | grep -c '"entity_id":"u-')" "$(wc -l <acknowledged)"
    check 'the edited configuration stays' grep -q 8099 /etc/resyncd/resyncd.toml
    check 'the version is the new one' is "$(dpkg-query -W -f '${Version}' resyncd | sed 's/.*-//')" 2
}

broken() {
    before=$(main_pid) rows=$(live)
    kill -9 "$before"
    check 'killed, it is started again' eventually another_pid "$before"
    check 'with all it had' is "$(live)" "$rows"
    mkdir -p /run/systemd/system/resyncd.service.d
    printf '[Service]\nWatchdogSec=2s\n' >/run/systemd/system/resyncd.service.d/quick.conf
    systemctl daemon-reload
    systemctl restart resyncd
    eventually running
    before=$(main_pid)
    kill -STOP "$before"
    check 'stopped, it is found by the watchdog and started again' eventually another_pid "$before"
    check 'the journal says why' sh -c 'journalctl -u resyncd | grep -qi watchdog'
    rm /run/systemd/system/resyncd.service.d/quick.conf
    systemctl daemon-reload
    systemctl restart resyncd
    check 'and it runs as packaged' eventually running
}

hooked() {
    cat >/etc/resyncd/alert-hook <<'END'
#!/bin/sh
{ id -un; cat; } >/tmp/alert-seen.new && mv /tmp/alert-seen.new /tmp/alert-seen
END
    chmod 755 /etc/resyncd/alert-hook
    for n in 1 2 3 4; do
        pos resyncd record --type ALERT --entity "a-$n" --action CREATE --error 'HTTP 500: x' >/dev/null
    done
    check 'the alert hook is started' eventually test -s /tmp/alert-seen
    check 'as the agent'"'"'s user' sh -c 'head -n 1 /tmp/alert-seen | grep -qx resyncd'
    check 'and gets what is wrong' eventually sh -c 'grep -q many_failures /tmp/alert-seen'
}

first() {
    installed
    who_may
    configured
    hooked
    mended
    upgraded
    broken
    live >count
    say "        $(cat count) failures are not delivered before the machine goes down"
}

# ---- the second boot

delivered() {
    check 'after a boot it runs' eventually running
    check 'with all it had' is "$(live)" "$(cat count)"
    resyncd pause >/dev/null
    perl office.pl 8099 arrived tok-boot-test &
    office=$!
    resyncd resume >/dev/null
    resyncd flush >/dev/null 2>&1
    all_gone() { [ "$(resyncd export --type SALE | wc -l)" = 0 ]; }
    check 'all is delivered, with the credential' eventually all_gone
    check 'each once' sh -c 'test -s arrived && ! sort arrived | uniq -d | grep .'
    check 'the first one first' is "$(head -n 1 arrived)" s-1
    kill "$office"
}

removed() {
    resyncd export --type ALERT >stale
    record r-1 key-r1 >/dev/null
    record r-2 key-r2 >/dev/null
    record r-3 key-r3 >/dev/null
    check 'one is discarded' resyncd discard r-3 --yes --reason 'entered twice'
    left=$(live)
    check 'it is removed' sh -c 'dpkg -r resyncd >removal 2>&1'
    check 'and says how many are not delivered' grep -q "$left failures are not delivered" removal
    check 'nothing of it runs' sh -c '! systemctl is-active resyncd.service resyncd.socket resyncd-admin.socket'
    check 'the data stays' test -s /var/lib/resyncd/sync_failures.db
    check 'the configuration stays' grep -q 8099 /etc/resyncd/resyncd.toml
    check 'it is installed again' dpkg -i ./two.deb
    check 'it runs' eventually running
    check 'with all it had' is "$(live)" "$left"
}

purged() {
    check 'it is purged' sh -c 'dpkg -P resyncd >purge 2>&1'
    check 'with a warning that counts' grep -q "$left failures were never delivered" purge
    check 'which are kept' is "$(cat /var/backups/resyncd-*/undelivered-at-removal.jsonl | wc -l)" "$left"
    check 'with what was discarded' grep -q '"r-3"' /var/backups/resyncd-*/2*.jsonl
    check 'where only root can read' is "$(stat -c '%a %U' /var/backups/resyncd-*)" '700 root'
    check 'the data is gone' test ! -e /var/lib/resyncd
    check 'the sockets are gone' test ! -e /run/resyncd
    check 'no unit is left' sh -c '! systemctl list-unit-files | grep resyncd'
}

case $boot in
1) first ;;
2)
    delivered
    removed
    purged
    ;;
esac
say "reached the end of boot $boot"
