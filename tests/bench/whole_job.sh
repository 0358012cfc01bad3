#!/usr/bin/env bash
# The whole job, from recorded to delivered, with the upstream down and then up: resyncd, and what a developer would write
# instead, in Python (sqlite3, requests) and in Node (Prisma on SQLite). All have the same socket, a commit that is synced before
# each answer, the same order and key at the upstream, and four requests in flight.
#
#   tests/bench/whole_job.sh AGENT [--quick]      --quick only shows that it works
#
# Installs what is missing from Debian (as root) and npm; BENCH_OUT (target/bench) gets whole_job.md and whole_job.json,
# BENCH_DIR (/var/tmp) holds the databases, BENCH_DRIVER is the benchmark's program instead of a new build. Leaves nothing running.
set -euo pipefail
AGENT=$(realpath "${1:?usage: tests/bench/whole_job.sh AGENT [--quick]}")
QUICK=("${@:2}")
cd "$(dirname "$0")/../.."
HERE=tests/bench/whole_job
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")
OUT=$(realpath -m "${BENCH_OUT:-$TARGET/bench}")
# Pinned, so that a failure means that we changed. This version works without a binary of its own.
PRISMA=6.19.0

# shellcheck source=tests/bench/need.sh
source tests/bench/need.sh
need nginx nginx-light
need python3 python3
PYTHON=python3
"$PYTHON" -c 'import requests' 2>/dev/null || {
    need /usr/lib/python3/dist-packages/requests python3-requests
    PYTHON=/usr/bin/python3
}
need node nodejs
need npm npm

if [ -z "${BENCH_DRIVER:-}" ]; then
    BENCH_DRIVER=$(cargo bench --quiet --locked --bench bench --no-run --message-format=json |
        grep -F '"kind":["bench"]' | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
fi

# The packages are kept for the next run; a directory without the stamp is incomplete.
NODE=$TARGET/whole_job-$PRISMA
if [ ! -e "$NODE/installed" ]; then
    rm -rf "$NODE"
    mkdir -p "$NODE"
    echo '{"private":true,"type":"module"}' >"$NODE/package.json"
    (cd "$NODE" && timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts \
        "prisma@$PRISMA" "@prisma/client@$PRISMA" "@prisma/adapter-libsql@$PRISMA")
    touch "$NODE/installed"
fi
cp "$HERE/schema.prisma" "$HERE/script.mjs" "$NODE"
# The generator asks for engines that this kind of client does not use.
(cd "$NODE" && PRISMA_SCHEMA_ENGINE_BINARY=/bin/true PRISMA_QUERY_ENGINE_LIBRARY=/bin/true PRISMA_HIDE_UPDATE_MESSAGE=1 \
    timeout 120 node_modules/.bin/prisma generate --schema schema.prisma >prisma.log 2>&1) || { cat "$NODE/prisma.log" >&2; exit 1; }

WORK=$(mktemp -d "${BENCH_DIR:-/var/tmp}/resyncd-whole.XXXXXX")
RUNNING=
clean() {
    if [ -n "$RUNNING" ]; then
        kill -TERM -- "-$RUNNING" 2>/dev/null || true
        wait "$RUNNING" 2>/dev/null || true
        # Its servers write to the directory until their end.
        for _ in $(seq 100); do
            kill -0 -- "-$RUNNING" 2>/dev/null || break
            sleep 0.1
        done
    fi
    rm -rf "$WORK"
}
trap clean EXIT
trap 'exit 130' INT TERM
# In its own process group, so that its servers end with it when it is interrupted.
set -m
"$PYTHON" "$HERE/measure.py" ${QUICK[@]+"${QUICK[@]}"} "$AGENT" "$BENCH_DRIVER" "$NODE" "$WORK" "$OUT" &
RUNNING=$!
wait "$RUNNING"
