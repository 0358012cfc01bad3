# What the parts with a business system of engines.sh share: tryton, oscar, vendure.

one_line() { tr '\n' ';' | sed 's/;$//'; }

failure() { # failure TYPE ENTITY ACTION PAYLOAD
    printf '{"entity_type":"%s","entity_id":"%s","action":"%s","error":"connect ETIMEDOUT","payload":%s}\n' "$@"
}

record_all() { resyncd record - >/dev/null; }

# ---- its database ---------------------------------------------------------------------------------

# The rows of the system's database, values joined by blanks: of the file ROWS_FILE, or of the database ROWS_DATABASE
# that `rows_in_postgres` has made.
rows() { # rows SQL
    if [ -n "${ROWS_DATABASE:-}" ]; then
        timeout 120 "${AS_POSTGRES[@]}" psql "host=127.0.0.1 port=$PGPORT dbname=$ROWS_DATABASE user=till" -qAtX -F ' ' -c "$1"
        return
    fi
    timeout 60 python3 - "$ROWS_FILE" "$1" <<'PY'
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=20)
with base:
    for row in base.execute(sys.argv[2]):
        print(*row)
PY
}

rows_in_postgres() { # rows_in_postgres DATABASE
    new_postgres
    ROWS_DATABASE=$1
    timeout 120 "${AS_POSTGRES[@]}" createdb -h 127.0.0.1 -p "$PGPORT" -U till "$1"
}

# ---- what happens to it ---------------------------------------------------------------------------

delivered() { # delivered NAME: everything has left, and nothing needs an operator
    becomes "$1" 180 "not f and h['critical'] == 0"
}

comes_back() { # comes_back NAME PORT SERVE: it starts, behind a line that loses, and all that was recorded is delivered
    line_that_loses "$LOSING" "$2"
    $3
    delivered "$1: all delivered"
    same "$1: answers were lost on the way" "$LOST" "$(lost)"
}

dies_at_work() { # dies_at_work NAME PID SERVE <FAILURES: it is killed while it processes the first of them
    dies_at_next_request "$2"
    record_all
    fallen "$2"
    $3
    delivered "$1, killed while it works: all delivered"
}

discards() { resyncd discard --all --yes --reason "$1" >/dev/null; }

rejects_login() { # rejects_login NAME WHY COMMAND… <FAILURES: it rejects the terminal until COMMAND has corrected that
    local failures
    failures=$(cat)
    record_all <<<"$failures"
    becomes "$1, $2: nothing is counted" 120 "len(f) == $(wc -l <<<"$failures") and counted == 0 and u['state'] == 'blocked'"
    "${@:3}"
    delivered "$1, $2, and that is corrected: all delivered"
}

at_once() { # at_once URL BODY HEADER: VALUE…: eight requests with one key at the same time; the answers' statuses, each once
    timeout 120 python3 - "$@" <<'PY'
import concurrent.futures, sys, urllib.error, urllib.request
url, body, *headers = sys.argv[1:]
headers = {"Content-Type": "application/json", "Idempotency-Key": "k-8", **dict(header.split(": ", 1) for header in headers)}
def post(n):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers), timeout=100).status
    except urllib.error.HTTPError as error:
        return error.code
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(*sorted(set(pool.map(post, range(8)))))
PY
}
