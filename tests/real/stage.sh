# Helpers that run the real agent beside real servers, sourced by tests/real/run.sh and
# tests/recipes/engines.sh: servers on loopback in a temporary directory that end with the script,
# checks that wait for conditions, an agent with its own configuration.
#
# The caller sets AGENT (the binary) and STAGE (a short name for the directory), and `set -euo pipefail`.

# A socket's path is limited to 107 bytes, so it is not below a long TMPDIR.
WORK=$(mktemp -d "/tmp/resyncd-$STAGE.XXXXXX")
PIDS=()
AGENT_PID=
PASSED=0
FAILED=0

# ---- the stage ------------------------------------------------------------------------------------

stop() { # stop PID: stops a process by its id, and waits for its end
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

clean() {
    local pid
    stop_agent
    for pid in ${PIDS[@]+"${PIDS[@]}"}; do stop "$pid"; done
    if [ -n "${KEEP:-}" ]; then echo "kept: $WORK" >&2; else rm -rf "$WORK"; fi
}
trap clean EXIT
trap 'exit 130' INT TERM

serve() { # serve LOG COMMAND…: in the background until the end, or for SERVE_FOR seconds (1800)
    local log=$1
    shift
    timeout -k 5 "${SERVE_FOR:-1800}" "$@" >>"$WORK/$log" 2>&1 &
    PIDS+=($!)
}

need() { # need COMMAND PACKAGE: installs a Debian package when its command is missing
    command -v "$1" >/dev/null 2>&1 && return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "missing: $1 (Debian package $2)" >&2
        return 1
    fi
    [ -n "${APT_UPDATED:-}" ] || { timeout 300 apt-get -qq update; APT_UPDATED=1; }
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq install -y "$2" >/dev/null
}

need_nginx() {
    local before=/run/nginx.pid
    [ -e "$before" ] && before=
    need nginx nginx-light
    # Debian's package starts its own server; it was not running before, and is not wanted.
    if [ -n "$before" ] && [ -e "$before" ]; then timeout 60 nginx -s quit || true; fi
}

free_ports() { # free_ports N: all held at the same time, so that they differ
    timeout 60 python3 - "$1" <<'PY'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))
PY
}

wait_port() { # wait_port PORT [TENTHS]: until the most recently started server listens there
    local n
    for n in $(seq "${2:-150}"); do
        # Another run's server at the same port must not be mistaken for ours.
        kill -0 "${PIDS[-1]}" 2>/dev/null || break
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        sleep 0.1
    done
    echo "no server listens at port $1" >&2
    return 1
}

# ---- checks ---------------------------------------------------------------------------------------

verdict() { # verdict RC NAME EVIDENCE
    if [ "$1" = 0 ]; then
        PASSED=$((PASSED + 1))
        echo "ok $2"
    else
        FAILED=$((FAILED + 1))
        echo "FAILED $2: $3"
    fi
}

same() { # same NAME WANTED FOUND
    local rc=0
    [ "$2" = "$3" ] || rc=1
    verdict $rc "$1" "wanted $2, found $3"
}

# Queries the admin socket until a Python expression over `h` (health) and `f` (all live failures)
# is true, and prints both when it does not become true.
cat >"$WORK/ask.py" <<'PY'
import json, socket, sys, time

def ask(request):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(sys.argv[1])
        s.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(s.makefile().readline())

def look():
    h = ask({"op": "health"})
    f = ask({"op": "list", "limit": 1000})["failures"]
    counted = sum(one["retry_count"] for one in f)
    return h, f, counted

end = time.monotonic() + float(sys.argv[2])
while True:
    try:
        h, f, counted = look()
        if eval(sys.argv[3], {"h": h, "f": f, "counted": counted, "u": h["upstreams"][0]}):
            sys.exit(0)
    except OSError as error:
        h, f, counted = {"upstreams": [], "state": str(error)}, [], 0
    if time.monotonic() > end:
        one = {k: f[0][k] for k in ("status", "state", "retry_count", "error_class", "error")} if f else None
        print(json.dumps({"live": len(f), "counted": counted, "critical": h.get("critical"),
                          "upstreams": h["upstreams"], "first": one}))
        sys.exit(1)
    time.sleep(0.1)
PY

becomes() { # becomes NAME SECONDS EXPRESSION
    local rc=0 evidence
    evidence=$(timeout $(($2 + 20)) python3 "$WORK/ask.py" "$WORK/agent/admin.sock" "$2" "$3") || rc=$?
    verdict $rc "$1" "$evidence"
}

# ---- the agent ------------------------------------------------------------------------------------

configure() { # configure UPSTREAM_AND_ROUTES: a fresh agent's configuration
    rm -rf "$WORK/agent"
    mkdir "$WORK/agent"
    cat >"$WORK/agent/c.toml" <<TOML
[agent]
terminal_id = "real"
state_dir = "$WORK/agent"
socket = "$WORK/agent/app.sock"
admin_socket = "$WORK/agent/admin.sock"
[retry]
backoff = ["1s"]
[upstream.hq]
max_pause = "1s"
$1
TOML
}

resyncd() { timeout 60 "$AGENT" --config "$WORK/agent/c.toml" "$@"; }

start_agent() {
    timeout -k 5 1800 "$AGENT" --config "$WORK/agent/c.toml" run >"$WORK/agent/log" 2>&1 &
    AGENT_PID=$!
    local n
    for n in $(seq 100); do
        [ -S "$WORK/agent/admin.sock" ] && return 0
        sleep 0.1
    done
    cat "$WORK/agent/log" >&2
    return 1
}

stop_agent() {
    [ -z "$AGENT_PID" ] || stop "$AGENT_PID"
    AGENT_PID=
}

record_sales() { # record_sales N: one failure for each of N entities
    local n
    for n in $(seq "$1"); do
        printf '{"entity_type":"SALE","entity_id":"s-%s","action":"CREATE","error":"connect ETIMEDOUT","payload":{"n":%s}}\n' "$n" "$n"
    done | resyncd record - >/dev/null
}

field() { # field NAME: of the JSON object on standard input
    timeout 60 python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}

try_once() { # try_once TYPE ENTITY [MORE…]: the output line of `try --send --json`
    # The command fails when the failure would not be delivered; the class shows that too.
    resyncd try --json --send --type "$1" --entity "$2" --action CREATE "${@:3}" 2>"$WORK/try.err" || true
}

class_of() { # class_of NAME WANTED TYPE ENTITY [MORE…]: MORE is passed on to `try`
    local said found rc=0
    said=$(try_once "${@:3}")
    found=$(field class <<<"${said:-null}" 2>/dev/null) || found="nothing ($(cat "$WORK/try.err"))"
    [ "$found" = "$2" ] || rc=1
    verdict $rc "$1 => $2" "$said $found"
}
