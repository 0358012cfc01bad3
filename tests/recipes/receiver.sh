# The receivers (parts receiver and postgres of engines.sh).

# The same checks for both. SERVE starts the receiver at $RECEIVER; TABLE prints "entity step" of
# each row, in order of arrival.
receiver_story() { # receiver_story NAME SERVE TABLE
    local name=$1 serve=$2 table=$3 pid
    read -r RECEIVER LOSING <<<"$(free_ports 2)"
    recipe receiver "s|https://hq.example|http://127.0.0.1:$LOSING|"
    start_agent
    record_steps 4 3
    away "$name" 12
    line_that_loses "$LOSING" "$RECEIVER"
    $serve
    pid=${PIDS[-1]}
    becomes "$name: all delivered, none counted" 60 "not f and h['critical'] == 0"
    same "$name: answers were lost on the way" "$LOST" "$(lost)"
    same "$name: each once and in order" "s-1:1,2,3 s-2:1,2,3 s-3:1,2,3 s-4:1,2,3" "$($table | in_order)"
    record_sales 24
    kill9 "$pid"
    $serve
    pid=${PIDS[-1]}
    becomes "$name killed while it works: all delivered" 60 "not f and h['critical'] == 0"
    same "$name killed while it works: each once" 36 "$($table | wc -l)"
    stop_agent
    receiver_answers "$name"
    same "$name, asked by hand: one row more" 37 "$($table | wc -l)"
    finish "$pid"
}

receiver_answers() { # receiver_answers NAME: the responses that the agent relies on, to concurrent requests
    local url="http://127.0.0.1:$RECEIVER/sync" body='{"entity_id":"s-9","payload":{"step":1}}' said
    said=$(timeout 60 python3 - "$url" "$body" <<'PY'
import collections, concurrent.futures, sys, urllib.request
def post(n):
    request = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"Idempotency-Key": "k-1"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, answer.read()
with concurrent.futures.ThreadPoolExecutor(20) as pool:
    counts = collections.Counter(pool.map(post, range(20)))
print(*("%s x %s %s" % (n, status, body.decode()) for (status, body), n in sorted(counts.items(), key=lambda c: c[1])), sep=", ")
PY
    ) || true
    same "$1: one key twenty times at once" '1 x 201 {"id": "k-1"}, 19 x 200 {"id": "k-1"}' "$said"
    same "$1: that key with another body" '422 {"message": "this key came before, with another body"}' \
        "$(http POST "$url" '{}' 'Idempotency-Key: k-1')"
    same "$1: without a key" '400 {"message": "Idempotency-Key is missing"}' "$(http POST "$url" '{}')"
}

# ---- on SQLite ------------------------------------------------------------------------------------

serve_receiver() {
    serve receiver.log python3 "$RECIPES/receiver/receiver.py" "$RECEIVER" "$WORK/receiver.db"
    wait_port "$RECEIVER"
}

receiver_table() {
    timeout 60 python3 - "$WORK/receiver.db" <<'PY'
import json, sqlite3, sys
for (body,) in sqlite3.connect(sys.argv[1]).execute("SELECT body FROM received ORDER BY rowid"):
    one = json.loads(body)
    print(one["entity_id"], one["payload"].get("step", 0))
PY
}

part_receiver() {
    receiver_story "receiver" serve_receiver receiver_table
    receiver_page 1
}

receiver_page() { # receiver_page N SED…: the page's receiver of block N, and what the terminal does with it
    read -r RECEIVER <<<"$(free_ports 1)"
    serve_page page-receiver.log receiver "$1" "s|8080|$RECEIVER|" "${@:2}"
    wait_port "$RECEIVER"
    page_delivers receiver 3 "s|8080|$RECEIVER|"
    finish "${PIDS[-1]}"
}

# ---- on PostgreSQL --------------------------------------------------------------------------------

# PostgreSQL does not run as root.
AS_POSTGRES=(env)
[ "$(id -u)" != 0 ] || AS_POSTGRES=(setpriv --reuid=postgres --regid=postgres --init-groups)

serve_postgres() { # without fsync: it is killed, the machine is not
    serve postgres.log "${AS_POSTGRES[@]}" "$PGBIN/postgres" -D "$WORK/pg/data" -p "$PGPORT" \
        -c fsync=off -c listen_addresses=127.0.0.1 -c "unix_socket_directories=$WORK/pg"
    POSTGRES=${PIDS[-1]}
    wait_port "$PGPORT"
}

serve_receiver_postgres() {
    serve receiver.log /usr/bin/python3 "$RECIPES/receiver/receiver_postgres.py" "$RECEIVER" "$DSN"
    wait_port "$RECEIVER"
}

receiver_postgres_table() {
    timeout 120 "${AS_POSTGRES[@]}" psql "$DSN" -qAtX -F ' ' \
        -c "SELECT body::json->>'entity_id', coalesce(body::json#>>'{payload,step}', '0') FROM received ORDER BY at"
}

make_postgres() { # a database of its own, running, at $PGPORT; how it is reached is then in DSN
    PGBIN=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -1)")
    mkdir "$WORK/pg"
    [ "$(id -u)" != 0 ] || chown postgres "$WORK/pg"
    timeout 300 "${AS_POSTGRES[@]}" "$PGBIN/initdb" -D "$WORK/pg/data" -U till --auth=trust --no-sync -E UTF8 --locale=C >/dev/null
    DSN="host=127.0.0.1 port=$PGPORT dbname=postgres user=till"
    serve_postgres
}

new_postgres() { # the same, at a free port
    read -r PGPORT <<<"$(free_ports 1)"
    make_postgres
}

part_postgres() {
    new_postgres
    receiver_story "receiver on PostgreSQL" serve_receiver_postgres receiver_postgres_table
    postgres_away
    receiver_page 2 "s|sudo -u postgres psql|psql -h 127.0.0.1 -p $PGPORT -U till postgres|" "s|host=127.0.0.1|& port=$PGPORT|"
    finish "$POSTGRES"
}

# The receiver is reachable, its database is not.
postgres_away() {
    serve_receiver_postgres
    local receiver=${PIDS[-1]} url="http://127.0.0.1:$RECEIVER"
    recipe receiver "s|https://hq.example|$url|"
    kill9 "$POSTGRES"
    start_agent
    record_steps 3 2
    becomes "PostgreSQL is down: the terminals wait" 20 "u['state'] == 'throttled' and len(f) == 6 and counted == 0"
    serve_postgres
    becomes "PostgreSQL is back: all delivered" 60 "not f and h['critical'] == 0"
    same "PostgreSQL is back: each once" 43 "$(receiver_postgres_table | wc -l)"
    stop_agent
    finish "$receiver"
}
