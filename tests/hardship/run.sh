#!/usr/bin/env bash
# Hardship for the real binary, from outside: power cuts, kill -9, failing system calls, full disks,
# foreign readers and locks, wrong clocks, hours of load. What the agent promises must hold after each.
#
#   tests/hardship/run.sh [BINARY] [WHAT…] [--cuts N] [--kills N] [--faults N] [--soak SECONDS] [--seed N]
#
# BINARY: target/release/resyncd. WHAT: cuts kills faults full places reader clock soak; all of them without.
# A number makes a check as long as wanted (and names it), such as --cuts 20000. What cannot be done on
# a machine is SKIPPED aloud; RESYNCD_NEED_HARDSHIP=1 makes that an error. Run it as root: it mounts.
#
# Everything happens in mount and process namespaces of their own: whatever ends this, nothing stays
# mounted, attached or running.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
if ! command -v python3 >/dev/null 2>&1; then
    echo "missing: python3 (Debian package python3)" >&2
    exit 1
fi
own=()
if [ "$(id -u)" = 0 ] && unshare --mount --pid --fork --kill-child --mount-proc true 2>/dev/null; then
    own=(unshare --mount --pid --fork --kill-child --mount-proc)
fi
exec ${own[@]+"${own[@]}"} python3 -B "$here/main.py" "$@"
