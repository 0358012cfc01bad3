# A CouchDB-compatible server (part couchdb of engines.sh): pouchdb-server on LevelDB, by the commands of the recipe's
# page.

serve_couchdb() {
    serve couchdb.log env HOME="$HOME_OF_PAGES" bash -c "$(page_server couchdb 1 "s|--port 5984|--port $COUCH|")"
    COUCHDB=${PIDS[-1]}
    wait_port "$COUCH"
}

documents() { # "entity step" of each, in order of recording
    timeout 60 python3 - "http://127.0.0.1:$COUCH/resyncd/_all_docs?include_docs=true" <<'PY'
import json, sys, urllib.request
rows = json.load(urllib.request.urlopen(sys.argv[1], timeout=50))["rows"]
# A key made by the agent begins with a time.
for row in sorted(rows, key=lambda row: row["id"]):
    doc = row["doc"]
    assert doc["_rev"].startswith("1-"), doc
    print(doc["entity_id"], (doc["payload"] or {}).get("step", 0))
PY
}

part_couchdb() {
    local line="http://127.0.0.1:" secret="$WORK/couchdb.basic" login
    login="Authorization: Basic $(printf till:a-tills-password | base64)"
    follow couchdb 1 '$d'
    printf 'till:a-tills-password' >"$secret"
    chmod 600 "$secret"
    read -r COUCH LOSING <<<"$(free_ports 2)"
    recipe couchdb "s|https://couchdb.example:6984|$line$LOSING|" "s|/etc/resyncd/couchdb.basic|$secret|"
    start_agent
    record_steps 4 3
    away "the document server" 12
    serve_couchdb
    # Without the database: that is for the server's administrator to fix.
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
    http DELETE "$line$COUCH/resyncd" '' "$login" >/dev/null
    page_delivers couchdb 2 "s|127.0.0.1:5984|127.0.0.1:$COUCH|"
    finish "$COUCHDB"
}
