#!/usr/bin/env bash
# The recipes of packaging/recipes that name an engine, against that engine: the receivers on SQLite and
# PostgreSQL, nginx in front of several of them, RabbitMQ, a CouchDB-compatible server, Prometheus with
# node-exporter. Each runs the recipe's own files; only addresses, paths and a limit are replaced.
#
#   tests/recipes/engines.sh [AGENT] [PART…]
#   AGENT: target/release/resyncd; PART: receiver postgres nginx rabbitmq couchdb prometheus
#
# Installs what is missing from Debian (as root) and npm. Only loopback; leaves nothing running.
set -euo pipefail

AGENT=$(realpath "${1:-target/release/resyncd}")
shift || true
PARTS=("$@")
[ ${#PARTS[@]} -gt 0 ] || PARTS=(receiver postgres nginx rabbitmq couchdb prometheus)

HERE=$(realpath "$(dirname "$0")")
RECIPES=$(realpath "$HERE/../../packaging/recipes")
# Pinned, so that a failure means that we changed; the others are Debian's.
POUCHDB_SERVER=4.2.0
# So many answers are lost on the line of a story, each of another key.
LOST=3

STAGE=engines
# shellcheck source=tests/real/stage.sh
source "$HERE/../real/stage.sh"
chmod 711 "$WORK"

# ---- what is needed -------------------------------------------------------------------------------

chosen() { # chosen PART
    local part
    for part in "${PARTS[@]}"; do [ "$part" != "$1" ] || return 0; done
    return 1
}

packages() { # the Debian packages that the chosen parts lack, one a line
    missing() { [ -e "$1" ] || echo "$2"; }
    ! chosen postgres || { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql; }
    ! chosen postgres || missing /usr/share/doc/python3-psycopg2 python3-psycopg2
    ! chosen nginx || missing /usr/sbin/nginx nginx-light
    ! chosen rabbitmq || missing /usr/sbin/rabbitmq-server rabbitmq-server
    ! chosen rabbitmq || missing /usr/share/doc/python3-pika python3-pika
    ! chosen prometheus || missing /usr/bin/promtool prometheus
    ! chosen prometheus || missing /usr/bin/prometheus-node-exporter prometheus-node-exporter
    ! chosen couchdb || command -v node >/dev/null || echo nodejs
    ! chosen couchdb || command -v npm >/dev/null || echo npm
}

install() { # installs them, and starts none of their services
    local wanted policy=/usr/sbin/policy-rc.d made=
    wanted=$(packages)
    [ -n "$wanted" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "missing Debian packages:" $wanted >&2
        return 1
    fi
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1; }
    timeout 300 apt-get -qq update
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq install -y --no-install-recommends \
        -o DPkg::Lock::Timeout=120 $wanted >/dev/null || { [ -z "$made" ] || rm "$policy"; return 1; }
    [ -z "$made" ] || rm "$policy"
}

# ---- the agent and its recipe ---------------------------------------------------------------------

recipe() { # recipe NAME SED…: a fresh agent with the recipe beside its configuration
    local name=$1
    shift
    rm -rf "$WORK/agent"
    mkdir -p "$WORK/agent/resyncd.d"
    cat >"$WORK/agent/c.toml" <<TOML
[agent]
terminal_id = "till-07"
state_dir = "$WORK/agent"
socket = "$WORK/agent/app.sock"
admin_socket = "$WORK/agent/admin.sock"
[retry]
backoff = ["1s"]
TOML
    # A pause as long as a chain's would only make the test as long.
    sed 's/max_pause = "60s"/max_pause = "1s"/' "$RECIPES/$name/resyncd.toml" >"$WORK/agent/resyncd.d/recipe.toml"
    local change
    for change in "$@"; do
        cp "$WORK/agent/resyncd.d/recipe.toml" "$WORK/before"
        sed -i "$change" "$WORK/agent/resyncd.d/recipe.toml"
        # What replaces nothing would test something else than it says.
        ! cmp -s "$WORK/before" "$WORK/agent/resyncd.d/recipe.toml" || { echo "in vain: $change" >&2; return 1; }
    done
}

record_steps() { # record_steps ENTITIES STEPS: so many entities, each in so many steps, mixed
    local step entity
    for step in $(seq "$2"); do
        for entity in $(seq "$1"); do
            printf '{"entity_type":"SALE","entity_id":"s-%s","action":"STEP","error":"connect ETIMEDOUT","payload":{"step":%s,"note":"ö \\"€"}}\n' "$entity" "$step"
        done
    done | resyncd record - >/dev/null
}

in_order() { # of lines "entity step": every entity's steps, each once and in order
    timeout 10 python3 -c '
import collections, sys
steps = collections.defaultdict(list)
for line in sys.stdin:
    entity, step = line.split()
    steps[entity].append(int(step))
print(*("%s:%s" % (entity, ",".join(map(str, found))) for entity, found in sorted(steps.items())))'
}

away() { # away NAME LIVE: the engine is down, all is kept
    becomes "$1 is down: all is kept, nothing counted" 20 "len(f) == $2 and counted == 0 and u['state'] == 'offline'"
}

line_that_loses() { # line_that_loses PORT TARGET
    : >"$WORK/losing.log"
    serve losing.log python3 "$HERE/losing.py" "$1" "$2" "$LOST"
    wait_port "$1"
}

lost() { grep -c '^lost' "$WORK/losing.log" || true; }

http() { # http METHOD URL [BODY [HEADER: VALUE]…]: the status and the body
    timeout 20 python3 - "$@" <<'PY'
import sys, urllib.error, urllib.request
method, url, body, *headers = sys.argv[1:] + [""] * (4 - len(sys.argv))
request = urllib.request.Request(url, body.encode() or None, dict(h.split(": ", 1) for h in headers), method=method)
try:
    answer = urllib.request.urlopen(request, timeout=15)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
PY
}

# `serve` starts a server; its id is then the last of PIDS.

forget() { # forget PID: it has ended, and its number may become another's
    local pid left=()
    for pid in "${PIDS[@]}"; do [ "$pid" = "$1" ] || left+=("$pid"); done
    PIDS=(${left[@]+"${left[@]}"})
}

finish() { # finish PID: ends a server
    stop "$1"
    forget "$1"
}

kill9() { # kill9 PID: as a power cut would end a server, without a word
    local child
    # (No line end: `read` calls that the end of the file.)
    read -r child </proc/"$1"/task/"$1"/children || [ -n "$child" ]
    kill -9 "$child"
    wait "$1" 2>/dev/null || true
    forget "$1"
}

for part in receiver nginx rabbitmq couchdb prometheus; do
    # shellcheck source=/dev/null
    source "$HERE/$part.sh"
done

# ---- all ------------------------------------------------------------------------------------------

# Several parts run beside each other, each in a process and a directory of its own: most of their
# time is waiting. What they say comes part by part.
beside_each_other() {
    local part pids=() rc=0 n=0
    for part in "${PARTS[@]}"; do
        ENGINES_INSTALLED=1 timeout -k 30 600 "$0" "$AGENT" "$part" >"$WORK/$part.out" 2>&1 &
        pids+=($!)
    done
    PIDS=("${pids[@]}") # `clean` ends them, and waits until they have ended what they began.
    for part in "${PARTS[@]}"; do
        wait "${pids[n]}" || rc=1
        forget "${pids[n]}"
        n=$((n + 1))
        grep -v ' passed, ' "$WORK/$part.out" || true
        PASSED=$((PASSED + $(grep -c '^ok ' "$WORK/$part.out" || true)))
        FAILED=$((FAILED + $(grep -c '^FAILED ' "$WORK/$part.out" || true)))
        # One that ended before its end has failed, whatever it said until then.
        grep -q ' passed, ' "$WORK/$part.out" || { echo "FAILED $part: it did not come to its end"; rc=1; FAILED=$((FAILED + 1)); }
    done
    return $rc
}

need python3 python3
[ -n "${ENGINES_INSTALLED:-}" ] || install
rc=0
if [ ${#PARTS[@]} -gt 1 ]; then
    beside_each_other || rc=1
else
    BEGUN=$SECONDS
    "part_${PARTS[0]}"
    echo "-- ${PARTS[0]}: $((SECONDS - BEGUN)) s"
fi
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ] && [ "$rc" = 0 ]
