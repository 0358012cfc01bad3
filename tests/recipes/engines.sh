#!/usr/bin/env bash
# Tests the recipes of packaging/recipes that name an engine against that engine: the receivers on SQLite and
# PostgreSQL, nginx in front of several of them, RabbitMQ, a CouchDB-compatible server, Prometheus with
# node-exporter, clusters of etcd and RabbitMQ, and a chain of many agents. Each runs the recipe's own files, and the
# commands of its page; only addresses, paths and a limit are replaced.
#
#   tests/recipes/engines.sh [AGENT] [PART…]
#   AGENT: target/release/resyncd; PART: receiver postgres nginx rabbitmq couchdb prometheus etcd cluster chain
#   Only when they are named, because they take minutes each: tryton tryton_postgres oscar oscar_postgres vendure
#
# Installs missing packages from Debian (as root), and the systems from PyPI and npm. Only loopback, and for
# the chain network namespaces of its own; leaves nothing running.
set -euo pipefail

AGENT=$(realpath "${1:-target/release/resyncd}")
shift || true
PARTS=("$@")
[ ${#PARTS[@]} -gt 0 ] || PARTS=(receiver postgres nginx rabbitmq couchdb prometheus etcd cluster chain)

HERE=$(realpath "$(dirname "$0")")
RECIPES=$(realpath "$HERE/../../packaging/recipes")
# How many responses a part loses, each of another key.
LOST=3

STAGE=engines
# shellcheck source=tests/real/stage.sh
source "$HERE/../real/stage.sh"
chmod 711 "$WORK"

# ---- requirements ---------------------------------------------------------------------------------

chosen() { # chosen PART
    local part
    for part in "${PARTS[@]}"; do [ "$part" != "$1" ] || return 0; done
    return 1
}

packages() { # the Debian packages that the chosen parts lack, one per line
    missing() { [ -e "$1" ] || echo "$2"; }
    ! { chosen postgres || chosen cluster || chosen chain || chosen tryton_postgres || chosen oscar_postgres || chosen vendure; } ||
        { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql; }
    ! { chosen tryton || chosen tryton_postgres || chosen oscar || chosen oscar_postgres; } ||
        python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
    ! { chosen postgres || chosen cluster || chosen chain; } || missing /usr/share/doc/python3-psycopg2 python3-psycopg2
    ! { chosen nginx || chosen etcd || chosen cluster || chosen chain; } || missing /usr/sbin/nginx nginx-light
    ! chosen chain || compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || echo libfaketime
    ! chosen chain || command -v ip >/dev/null || echo iproute2
    ! chosen etcd || missing /usr/bin/etcd etcd-server
    ! chosen couchdb || command -v curl >/dev/null || echo curl
    ! { chosen rabbitmq || chosen cluster; } || missing /usr/sbin/rabbitmq-server rabbitmq-server
    ! { chosen rabbitmq || chosen cluster; } || missing /usr/share/doc/python3-pika python3-pika
    ! chosen prometheus || missing /usr/bin/promtool prometheus
    ! chosen prometheus || missing /usr/bin/prometheus-node-exporter prometheus-node-exporter
    ! { chosen couchdb || chosen vendure; } || command -v node >/dev/null || echo nodejs
    ! { chosen couchdb || chosen vendure; } || command -v npm >/dev/null || echo npm
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

recipe() { # recipe NAME[/FILE] SED…: a fresh agent with the recipe beside its configuration
    local name=$1
    [[ $name == */* ]] || name=$name/resyncd
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
    sed 's/max_pause = "60s"/max_pause = "1s"/' "$RECIPES/$name.toml" >"$WORK/agent/resyncd.d/recipe.toml"
    grep -q '^max_pause' "$WORK/agent/resyncd.d/recipe.toml" ||
        sed -i '0,/^url = /s//max_pause = "1s"\nurl = /' "$WORK/agent/resyncd.d/recipe.toml"
    local change
    for change in "$@"; do
        cp "$WORK/agent/resyncd.d/recipe.toml" "$WORK/before"
        sed -i "$change" "$WORK/agent/resyncd.d/recipe.toml"
        # A replacement without effect would test something else than intended.
        ! cmp -s "$WORK/before" "$WORK/agent/resyncd.d/recipe.toml" || { echo "in vain: $change" >&2; return 1; }
    done
}

# The commands of a recipe's page, as a newcomer runs them in its folder: `follow`, and for a server that runs on,
# `page` and `serve`.
HOME_OF_PAGES=$WORK/home

page() { # page NAME N SED…: the Nth block of commands of the recipe's page
    local found change
    found=$(awk -v n="$2" '/^```sh$/ { inside = ++block == n; next } /^```/ { inside = 0 } inside' "$RECIPES/$1/README.md")
    [ -n "$found" ] || { echo "the page of $1 has no block $2" >&2; return 1; }
    for change in "${@:3}"; do
        [ "$(sed "$change" <<<"$found")" != "$found" ] || { echo "in vain: $change" >&2; return 1; }
        found=$(sed "$change" <<<"$found")
    done
    echo "$found"
}

follow() { # follow NAME N SED…: what it prints is then in $WORK/page.log
    local commands pid rc=0
    commands=$(page "$@")
    mkdir -p "$HOME_OF_PAGES" "$WORK/bin"
    ln -sf "$AGENT" "$WORK/bin/resyncd"
    # In the background, because a signal ends a `wait` at once, and an installation takes minutes.
    env -C "$RECIPES/$1" HOME="$HOME_OF_PAGES" PATH="$WORK/bin:$PATH" timeout 1800 bash -euo pipefail -c "$commands" >"$WORK/page.log" 2>&1 &
    pid=$!
    PIDS+=("$pid")
    wait "$pid" || rc=$?
    forget "$pid"
    [ $rc = 0 ] || { echo "the page of $1 fails, block $2:" >&2; tail -n 20 "$WORK/page.log" >&2; return 1; }
}

page_delivers() { # page_delivers NAME N SED…: its commands end with a delivery, and leave nothing in the recipe's folder
    local before rc=0
    before=$(find "$RECIPES/$1" -type f | sort)
    follow "$@" || rc=1
    grep -q '^Class:  delivered' "$WORK/page.log" || rc=1
    verdict $rc "the page of $1, block $2: delivered" "$(tail -n 5 "$WORK/page.log")"
    same "the page of $1, block $2, leaves its folder as it is" "$before" "$(find "$RECIPES/$1" -type f | sort)"
}

page_server() { # page_server NAME N SED…: the server that these commands end with, where they go and what they export for it
    page "$@" | sed -n '/^export\|^cd /p; $s/^/exec /p'
}

serve_page() { # serve_page LOG NAME N SED…: that server; the commands before it prepare it
    follow "${@:2}" '$d'
    serve "$1" env -C "$RECIPES/$2" HOME="$HOME_OF_PAGES" bash -c "$(page_server "${@:2}")"
}

record_steps() { # record_steps ENTITIES STEPS: ENTITIES entities with STEPS steps each, mixed
    local step entity
    for step in $(seq "$2"); do
        for entity in $(seq "$1"); do
            printf '{"entity_type":"SALE","entity_id":"s-%s","action":"STEP","error":"connect ETIMEDOUT","payload":{"step":%s,"note":"ö \\"€"}}\n' "$entity" "$step"
        done
    done | resyncd record - >/dev/null
}

in_order() { # checks lines "entity step": every entity's steps, each once and in order
    timeout 60 python3 -c '
import collections, sys
steps = collections.defaultdict(list)
for line in sys.stdin:
    entity, step = line.split()
    steps[entity].append(int(step))
print(*("%s:%s" % (entity, ",".join(map(str, found))) for entity, found in sorted(steps.items())))'
}

away() { # away NAME LIVE: the engine is down, and all failures are kept
    becomes "$1 is down: all is kept, nothing counted" 20 "len(f) == $2 and counted == 0 and u['state'] == 'offline'"
}

line_that_loses() { # line_that_loses PORT TARGET
    : >"$WORK/losing.log"
    serve losing.log python3 "$HERE/losing.py" "$1" "$2" "$LOST" "$WORK/victim"
    LINE=${PIDS[-1]}
    wait_port "$1"
}

dies_at_next_request() { # dies_at_next_request PID: a server that `serve` started, behind the line that loses
    local child
    child=$(tr -d ' ' </proc/"$1"/task/"$1"/children)
    echo "$child" >"$WORK/victim.new"
    mv "$WORK/victim.new" "$WORK/victim"
}

fallen() { # fallen PID: waits until that has happened
    wait "$1" 2>/dev/null || true
    forget "$1"
}

lost() { grep -c '^lost' "$WORK/losing.log" || true; }

http() { # http METHOD URL [BODY [HEADER: VALUE]…]: the status and the body
    timeout 120 python3 - "$@" <<'PY'
import sys, urllib.error, urllib.request
method, url, body, *headers = sys.argv[1:] + [""] * (4 - len(sys.argv))
request = urllib.request.Request(url, body.encode() or None, dict(h.split(": ", 1) for h in headers), method=method)
try:
    answer = urllib.request.urlopen(request, timeout=100)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
PY
}

# `serve` starts a server; its id is then the last of PIDS.

forget() { # forget PID: it has ended, and another process may get its number
    local pid left=()
    for pid in "${PIDS[@]}"; do [ "$pid" = "$1" ] || left+=("$pid"); done
    PIDS=(${left[@]+"${left[@]}"})
}

finish() { # finish PID: ends a server
    stop "$1"
    forget "$1"
}

kill9() { # kill9 PID: ends a server abruptly, like a power cut
    local child
    # (There is no line end, which `read` reports as the end of the file.)
    read -r child </proc/"$1"/task/"$1"/children || [ -n "$child" ]
    kill -9 "$child"
    wait "$1" 2>/dev/null || true
    forget "$1"
}

for part in receiver nginx rabbitmq couchdb prometheus etcd cluster chain business tryton oscar vendure; do
    # shellcheck source=/dev/null
    source "$HERE/$part.sh"
done

# ---- all ------------------------------------------------------------------------------------------

# Runs several parts concurrently, each in its own process and directory, because they mostly wait.
# Their output is printed part by part.
beside_each_other() {
    local part pids=() rc=0 n=0
    for part in "${PARTS[@]}"; do
        ENGINES_INSTALLED=1 timeout -k 30 1200 "$0" "$AGENT" "$part" >"$WORK/$part.out" 2>&1 &
        pids+=($!)
    done
    PIDS=("${pids[@]}") # `clean` ends them, and waits until they have stopped their own servers.
    for part in "${PARTS[@]}"; do
        wait "${pids[n]}" || rc=1
        forget "${pids[n]}"
        n=$((n + 1))
        grep -v ' passed, ' "$WORK/$part.out" || true
        PASSED=$((PASSED + $(grep -c '^ok ' "$WORK/$part.out" || true)))
        FAILED=$((FAILED + $(grep -c '^FAILED ' "$WORK/$part.out" || true)))
        # A part that stopped early has failed, whatever it printed until then.
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
