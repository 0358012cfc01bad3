#!/usr/bin/env bash
# Hardship for the real binary, from outside: power cuts, kill -9, failing system calls, full disks, foreign
# readers and locks, wrong clocks, hostile clients, hours of load. The agent's promises must hold after each.
#
#   tests/hardship/run.sh [BINARY] [WHAT…] [--cuts N] [--kills N] [--faults N] [--hostility SECONDS] [--soak SECONDS] [--seed N]
#
# BINARY: target/release/resyncd. WHAT: cuts kills faults full places reader clock hostility soak; all
# without. A number sets the size of a check (and selects it), such as --cuts 20000. Checks that a machine
# does not support print SKIPPED; RESYNCD_NEED_HARDSHIP=1 makes that an error. Run it as root: it mounts.
#
# Everything runs in separate mount and process namespaces: however the script ends, nothing stays
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
