#!/bin/sh
# Runs in a machine with only the package, without a service manager: three commands from an empty system to
# a delivered failure. The head office is already running.
set -eu
cd /var/lib/boot-test
perl office.pl 8099 arrived &
office=$!

dpkg -i ./one.deb >said 2>&1
resyncd run --upstream http://127.0.0.1:8099/sync 2>log &
agent=$!
until resyncd record --type SALE --entity first --action CREATE --error 'connect ETIMEDOUT' --now 2>/dev/null; do
    sleep 0.1 # a person types slower than it starts
done

tries=0
until grep -qx first arrived 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { cat said log; exit 1; }
    sleep 0.1
done
kill "$agent" "$office"
echo "ok      three commands from nothing to a delivered failure"
