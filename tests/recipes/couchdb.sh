# A CouchDB-compatible server (part couchdb of engines.sh): pouchdb-server on LevelDB.

fetch_couchdb() {
    mkdir "$WORK/npm"
    (cd "$WORK/npm" && timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts "pouchdb-server@$POUCHDB_SERVER" >npm.log 2>&1) ||
        { cat "$WORK/npm/npm.log"; return 1; }
}

serve_couchdb() {
    (cd "$WORK/couchdb" && exec timeout -k 5 600 node "$WORK/npm/node_modules/pouchdb-server/bin/pouchdb-server" \
        --host 127.0.0.1 --port "$COUCH" --dir "$WORK/couchdb" --no-stdout-logs >>"$WORK/couchdb.log" 2>&1) &
    PIDS+=($!)
    COUCHDB=${PIDS[-1]}
    wait_port "$COUCH"
}

documents() { # "entity step" of each, in order of recording
    timeout 20 python3 - "http://127.0.0.1:$COUCH/resyncd/_all_docs?include_docs=true" <<'PY'
import json, sys, urllib.request
rows = json.load(urllib.request.urlopen(sys.argv[1], timeout=10))["rows"]
# A key made by the agent begins with a time.
for row in sorted(rows, key=lambda row: row["id"]):
    doc = row["doc"]
    assert doc["_rev"].startswith("1-"), doc
    print(doc["entity_id"], (doc["payload"] or {}).get("step", 0))
PY
}

part_couchdb() {
    local line="http://127.0.0.1:" secret="$WORK/couchdb.basic" login
    login="Authorization: Basic $(printf till:a-secret | base64)"
    fetch_couchdb
    mkdir "$WORK/couchdb"
    printf 'till:a-secret' >"$secret"
    chmod 600 "$secret"
    read -r COUCH LOSING <<<"$(free_ports 2)"
    recipe couchdb "s|https://couchdb.example:6984|$line$LOSING|" "s|/etc/resyncd/couchdb.basic|$secret|"
    start_agent
    record_steps 4 3
    away "the document server" 12
    echo '{"admins":{"till":"a-secret"}}' >"$WORK/couchdb/config.json"
    serve_couchdb
    # Without the database: for whoever runs the server.
    line_that_loses "$LOSING" "$COUCH"
    becomes "no such database: nothing is counted" 20 "len(f) == 12 and counted == 0 and u['state'] == 'blocked'"
    finish "${PIDS[-1]}"
    same "the database is made" '201 {"ok":true}' "$(http PUT "$line$COUCH/resyncd" '' "$login" | tr -d '\n')"
    line_that_loses "$LOSING" "$COUCH"
    resyncd resume >/dev/null
    becomes "the document server: all delivered" 60 "not f and h['critical'] == 0"
    same "the document server: answers were lost on the way" "$LOST" "$(lost)"
    same "the document server: each is there once" "s-1:1,2,3 s-2:1,2,3 s-3:1,2,3 s-4:1,2,3" "$(documents | in_order)"
    record_sales 8
    kill9 "$COUCHDB"
    serve_couchdb
    becomes "the document server killed while it works: all delivered" 60 "not f and h['critical'] == 0"
    same "the document server killed while it works: each once" 20 "$(documents | wc -l)"
    stop_agent
    finish "$COUCHDB"
}
