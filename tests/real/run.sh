#!/usr/bin/env bash
# The real agent against third-party upstreams: nginx with TLS, httpbin under gunicorn, and json-server
# as a REST API. Our own test upstreams answer as we assume that servers answer; these do not.
#
#   tests/real/run.sh [AGENT] [PART…]     AGENT: target/release/resyncd; PART: nginx httpbin json_server
#
# Only loopback. Works in a temporary directory and leaves nothing running.
set -euo pipefail

AGENT=$(realpath "${1:-target/release/resyncd}")
shift || true
PARTS=("$@")
[ ${#PARTS[@]} -gt 0 ] || PARTS=(nginx httpbin json_server)

# Pinned, so that a failure is caused by our changes.
HTTPBIN=0.10.2
GUNICORN=23.0.0
JSON_SERVER=0.17.4

STAGE=real
# shellcheck source=tests/real/stage.sh
source "$(dirname "$0")/stage.sh"

# ---- (A) nginx ------------------------------------------------------------------------------------

make_ca() { # make_ca DIR: our own certificate authority
    mkdir "$1"
    : >"$1/index.txt"
    timeout 60 openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=Real test CA" \
        -keyout "$1/ca.key" -out "$1/ca.pem" 2>/dev/null
    cat >"$1/ca.cnf" <<CNF
[ca]
default_ca = own
[own]
database = $1/index.txt
new_certs_dir = $1
rand_serial = yes
default_md = sha256
unique_subject = no
policy = any
copy_extensions = copy
x509_extensions = leaf
[any]
commonName = supplied
[leaf]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth, clientAuth
CNF
}

day() { date -u -d "$1 days" +%Y%m%d000000Z; }

make_cert() { # make_cert NAME SAN FROM TO: days from today, signed by the authority
    timeout 60 openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -addext "subjectAltName=$2" \
        -keyout "$WORK/ca/$1.key" -out "$WORK/ca/$1.csr" 2>/dev/null
    # Only `openssl ca` can set a certificate's first day.
    timeout 60 openssl ca -batch -notext -config "$WORK/ca/ca.cnf" -keyfile "$WORK/ca/ca.key" -cert "$WORK/ca/ca.pem" \
        -startdate "$(day "$3")" -enddate "$(day "$4")" -in "$WORK/ca/$1.csr" -out "$WORK/ca/$1.pem" 2>/dev/null
}

tls_server() { # tls_server PORT CERT [MORE]: nginx's own response over TLS, and a log of accepted requests
    cat <<CONF
    server {
        listen 127.0.0.1:$1 ssl;
        ssl_certificate $WORK/ca/$2.pem;
        ssl_certificate_key $WORK/ca/$2.key;
        ssl_session_tickets off;
        access_log $WORK/nginx/$1.log keys;
        ${3:-}
        location / { return 201 '{"ok":true}'; }
    }
CONF
}

nginx_conf() {
    cat <<CONF
daemon off;
user $(id -un);
worker_processes 2;
pid $WORK/nginx/pid;
error_log $WORK/nginx/error.log;
events {}
http {
    default_type application/json;
    log_format keys '\$status \$request_method \$http_idempotency_key';
    access_log off;
    client_body_temp_path $WORK/nginx/t1; proxy_temp_path $WORK/nginx/t2; fastcgi_temp_path $WORK/nginx/t3;
    uwsgi_temp_path $WORK/nginx/t4; scgi_temp_path $WORK/nginx/t5;
    limit_req_zone \$server_port zone=slow:1m rate=5r/s;
    limit_req_status 429;
    ssl_client_certificate $WORK/ca/ca.pem;
$(tls_server "$GOOD" good)
$(tls_server "$MUTUAL" good "ssl_verify_client on;")
$(tls_server "$EXPIRED" expired)
$(tls_server "$EARLY" early)
$(tls_server "$OTHER" other)
    server {
        listen 127.0.0.1:$LIMITED;
        access_log $WORK/nginx/$LIMITED.log keys;
        # nginx answers a "return" before it limits, so the response has to come from a proxied server.
        location / { limit_req zone=slow; proxy_pass http://127.0.0.1:$BEHIND; }
    }
    server {
        listen 127.0.0.1:$BEHIND;
        location / { return 201 '{"ok":true}'; }
    }
    server {
        listen 127.0.0.1:$PORTAL;
        access_log $WORK/nginx/$PORTAL.log keys;
        location / { return 307 http://portal.invalid/login; }
    }
}
CONF
}

taken() { # taken PORT: how many different keys nginx has accepted on this port
    (grep -E '^201 (POST|PUT)' "$WORK/nginx/$1.log" || true) | sort -u | wc -l
}

tls() { # tls PORT [MORE]: configures the agent for this port
    configure "url = \"https://127.0.0.1:$1/sync\"
${2:-}"
}

# Three failures, so that the agent can distinguish the head office's fault from a failure's.
all_arrive() { # all_arrive NAME PORT
    start_agent
    record_sales 3
    becomes "$1: delivered" 20 "not f and h['pending'] == 0"
    same "$1: the server took each once" 3 "$(taken "$2")"
    stop_agent
}

none_counts() { # none_counts NAME PORT UPSTREAM_EXPRESSION
    start_agent
    record_sales 3
    becomes "$1: the agent knows" 15 "$3"
    # Time for many probes and attempts, if these were counted.
    sleep 4
    becomes "$1: nothing is counted" 1 "len(f) == 3 and counted == 0 and h['critical'] == 0"
    same "$1: the server took nothing" 0 "$(taken "$2")"
    stop_agent
}

nginx_trust() {
    local ours="ca_file = \"$WORK/ca/ca.pem\"" foreign="ca_file = \"$WORK/foreign/ca.pem\""
    tls "$GOOD" "$ours"
    class_of "own CA by ca_file" delivered SALE x
    : >"$WORK/nginx/$GOOD.log"
    all_arrive "own CA by ca_file" "$GOOD"
    # SSL_CERT_FILE replaces the system's store, because the agent's TLS library reads it as such.
    tls "$GOOD" "$foreign"
    SSL_CERT_FILE=$WORK/ca/ca.pem class_of "ca_file beside the system's" delivered SALE x
    tls "$GOOD"
    SSL_CERT_FILE=$WORK/ca/ca.pem class_of "the system's store alone" delivered SALE x
    tls "$GOOD"
    class_of "unknown CA" unreachable SALE x
    : >"$WORK/nginx/$GOOD.log"
    none_counts "unknown CA" "$GOOD" "u['state'] == 'offline'"
    tls "$OTHER" "$ours"
    class_of "certificate of another name" unreachable SALE x
    none_counts "certificate of another name" "$OTHER" "u['state'] == 'offline'"
}

names_clock() { # names_clock NAME PORT
    tls "$2" "ca_file = \"$WORK/ca/ca.pem\""
    class_of "$1" misconfigured SALE x
    local rc=0 said
    said=$(try_once SALE x)
    grep -q "this terminal's clock says $(date -u +%Y-%m-%dT%H:)" <<<"$said" || rc=1
    verdict $rc "$1: the error names this terminal's clock" "$said"
    none_counts "$1" "$2" "u['state'] in ('offline', 'blocked')"
    # The status must name the clock too, because some operators see only that.
    start_agent
    becomes "$1: so does the upstream's reason" 5 "'clock' in (u['reason'] or '')"
    stop_agent
}

nginx_client_certificate() {
    local ours="ca_file = \"$WORK/ca/ca.pem\""
    tls "$MUTUAL" "$ours
client_cert = \"$WORK/ca/till.pem\"
client_key = \"$WORK/ca/till.key\""
    class_of "client certificate shown" delivered SALE x
    : >"$WORK/nginx/$MUTUAL.log"
    all_arrive "client certificate shown" "$MUTUAL"
    tls "$MUTUAL" "$ours"
    : >"$WORK/nginx/$MUTUAL.log"
    class_of "client certificate demanded, none shown" misconfigured SALE x
    none_counts "client certificate demanded, none shown" "$MUTUAL" "u['state'] != 'online'"
    # The same response for an expired certificate.
    tls "$MUTUAL" "$ours
client_cert = \"$WORK/ca/expired.pem\"
client_key = \"$WORK/ca/expired.key\""
    class_of "client certificate out of date" misconfigured SALE x
    tls "$MUTUAL" "$ours
[[upstream.hq.answer]]
status = [400]
contains = \"SSL certificate\"
is = \"misconfigured\""
    none_counts "client certificate demanded, a rule for nginx's answer" "$MUTUAL" "u['state'] == 'blocked'"
    # Other servers abort the handshake; under TLS 1.3 the client believes by then that it is complete.
    local version
    for version in 1_2 1_3; do
        read -r ALERT <<<"$(free_ports 1)"
        serve s_server openssl s_server -accept "127.0.0.1:$ALERT" -"tls$version" -cert "$WORK/ca/good.pem" \
            -key "$WORK/ca/good.key" -CAfile "$WORK/ca/ca.pem" -Verify 1 -verify_return_error -www -quiet
        wait_port "$ALERT"
        tls "$ALERT" "$ours"
        class_of "client certificate demanded in TLS $version" unreachable SALE x
    done
}

nginx_limit() {
    configure "url = \"http://127.0.0.1:$LIMITED/sync\""
    start_agent
    record_sales 25
    becomes "rate limit: the agent waits" 15 "u['state'] in ('waiting', 'throttled')"
    becomes "rate limit: nothing is counted on the way" 1 "counted == 0 and h['critical'] == 0"
    becomes "rate limit: all delivered in the end" 90 "not f"
    same "rate limit: each taken once" 25 "$(taken "$LIMITED")"
    local said=0
    said=$(grep -c '^429 POST' "$WORK/nginx/$LIMITED.log") || true
    verdict $((said > 0 ? 0 : 1)) "rate limit: nginx did say 429" "never"
    # 25 requests at 5 per second. Without Retry-After the agent finds the rate by trying: at most two requests for each
    # delivery.
    verdict $((said <= 25 ? 0 : 1)) "rate limit: it was not hammered" "$said times 429"
    stop_agent
    # Two within a fifth of a second exceed the limit.
    local n classes=
    for n in 1 2 3 4 5; do classes+=" $(try_once SALE x | field class)"; done
    verdict "$(grep -q throttled <<<"$classes"; echo $?)" "429 => throttled" "$classes"
}

nginx_portal() {
    configure "url = \"http://127.0.0.1:$PORTAL/sync\""
    class_of "307 to another host" unreachable SALE x
    none_counts "307 to another host" "$PORTAL" "u['state'] == 'offline'"
}

part_nginx() {
    need_nginx
    need openssl openssl
    read -r GOOD MUTUAL EXPIRED EARLY OTHER LIMITED BEHIND PORTAL <<<"$(free_ports 8)"
    make_ca "$WORK/ca"
    make_ca "$WORK/foreign"
    make_cert good "DNS:localhost,IP:127.0.0.1" -2 20
    make_cert expired "DNS:localhost,IP:127.0.0.1" -20 -1
    make_cert early "DNS:localhost,IP:127.0.0.1" 2 20
    make_cert other "DNS:elsewhere.example" -2 20
    make_cert till "DNS:till-07" -2 20
    mkdir "$WORK/nginx"
    nginx_conf >"$WORK/nginx/conf"
    serve nginx/out nginx -p "$WORK/nginx" -e "$WORK/nginx/error.log" -c "$WORK/nginx/conf"
    wait_port "$PORTAL"
    nginx_trust
    nginx_client_certificate
    names_clock "expired certificate" "$EXPIRED"
    names_clock "certificate not yet valid" "$EARLY"
    nginx_limit
    nginx_portal
}

# ---- (B) httpbin ----------------------------------------------------------------------------------

route() { # route TYPE METHOD PATH
    printf '[[route]]\nentity_type = "%s"\nmethod = "%s"\npath = "%s"\nbody = "%s"\n' "$1" "$2" "$3" \
        "$([ "$2" = GET ] && echo none || echo envelope)"
}

httpbin_config() { # httpbin_config [MORE]: configures the upstream
    configure "url = \"http://127.0.0.1:$BIN\"
timeout = \"2s\"
${1:-}
$(route STATUS POST '/status/{entity_id}')
$(route DELAY POST '/delay/{entity_id}')
$(route ELSEWHERE POST '/redirect-to?url=http://portal.invalid/&status_code={entity_id}')
$(route HERE POST "/redirect-to?url=http://127.0.0.1:$BIN/&status_code={entity_id}")
$(route DRIP GET '/drip?numbytes=5&delay=0&duration={entity_id}')
$(route STREAM GET '/stream-bytes/{entity_id}')
$(route HTML GET '/html')
$(route ECHO POST '/anything/{entity_id}')
$(route BASIC GET '/basic-auth/till/secret')
$(route BEARER GET '/bearer')"
}

httpbin_statuses() {
    local wanted statuses status
    httpbin_config
    while read -r wanted statuses; do
        for status in $statuses; do class_of "httpbin /status/$status" "$wanted" STATUS "$status"; done
    done <<'TABLE'
misconfigured 301 302 303 304 307 308 401 407
refused       400 411 413 414 415 422 431
failed        402 403 404 405 406 409 410 418 500 501 505
throttled     429 509 529
busy          408 425 502 503 504 507
unreachable   511
TABLE
}

# httpbin responds to these without a body, but with Flask's default type, text/html, as Flask and Django back ends do.
httpbin_accepted() {
    local status
    httpbin_config 'expect = "html"'
    for status in 200 201 202 204 206; do class_of "httpbin /status/$status, expect html" delivered STATUS "$status"; done
    httpbin_config "probe_url = \"http://127.0.0.1:$BIN/json\""
    for status in 201 204; do class_of "httpbin /status/$status, an empty text/html" delivered STATUS "$status"; done
    : >"$WORK/gunicorn.log"
    start_agent
    printf '{"entity_type":"STATUS","entity_id":"201","order_key":"%s","action":"CREATE","error":"connect ETIMEDOUT"}\n' a b c |
        resyncd record - >/dev/null
    becomes "httpbin /status/201: what was accepted leaves" 15 "not f"
    same "httpbin /status/201: each was sent once" 3 "$(grep -c 'POST /status/201' "$WORK/gunicorn.log")"
    stop_agent
}

httpbin_others() {
    httpbin_config
    class_of "httpbin /delay within the timeout" delivered DELAY 1
    class_of "httpbin /delay beyond the timeout" unsure DELAY 5
    class_of "httpbin /redirect-to another host" unreachable ELSEWHERE 302
    class_of "httpbin /redirect-to the same host" misconfigured HERE 307
    class_of "httpbin /drip within the timeout" delivered DRIP 1
    class_of "httpbin /drip beyond the timeout, which progress extends" delivered DRIP 6
    class_of "httpbin /stream-bytes in chunks" delivered STREAM 1000
    class_of "httpbin /stream-bytes more than is read" delivered STREAM 100000
    class_of "httpbin /html" unreachable HTML x
    class_of "httpbin /anything" delivered ECHO x
    class_of "httpbin /basic-auth without credentials" misconfigured BASIC x
    class_of "httpbin /bearer without a token" misconfigured BEARER x
    # The echo has the key under a header's name: it was sent, and the proof is found.
    httpbin_config 'expect_id = "/headers/Idempotency-Key"
expect = "json"'
    class_of "httpbin /anything echoes the key" delivered ECHO x
    httpbin_config 'expect = "json"'
    class_of "httpbin /stream-bytes is not JSON" unsure STREAM 100
    printf 'till:secret' >"$WORK/basic"
    printf 'a-token' >"$WORK/token"
    chmod 600 "$WORK/basic" "$WORK/token"
    httpbin_config "basic_file = \"$WORK/basic\""
    class_of "httpbin /basic-auth with basic_file" delivered BASIC x
    httpbin_config "token_file = \"$WORK/token\""
    class_of "httpbin /bearer with token_file" delivered BEARER x
}

part_httpbin() {
    need python3 python3
    timeout 300 python3 -m venv "$WORK/venv" 2>/dev/null || { need ensurepip python3-venv; timeout 300 python3 -m venv "$WORK/venv"; }
    timeout 300 "$WORK/venv/bin/pip" install -q --disable-pip-version-check "httpbin==$HTTPBIN" "gunicorn==$GUNICORN"
    read -r BIN <<<"$(free_ports 1)"
    # Threads, so that a waiting request does not delay the others.
    serve gunicorn.log "$WORK/venv/bin/gunicorn" -b "127.0.0.1:$BIN" -w 1 --threads 8 --access-logfile - httpbin:app
    wait_port "$BIN"
    httpbin_statuses
    httpbin_accepted
    httpbin_others
}

# ---- (C) json-server ------------------------------------------------------------------------------

# Mixed operations on a dozen returns, and the expected result when each one's order is kept.
cat >"$WORK/returns.py" <<'PY'
import json, random, sys
rng = random.Random(7)
model, operations = {}, []
while len(operations) < 72:
    entity = f"r-{rng.randrange(12)}"
    payload = {"id": entity, "step": len(operations), "total": rng.randrange(1000) / 100, "note": "ö €"}
    if entity not in model:
        action, model[entity] = "CREATE", payload
    elif rng.random() < 0.75:
        action, model[entity] = "UPDATE", payload
    else:
        action, payload = "DELETE", None
        del model[entity]
    line = {"entity_type": "RETURN", "entity_id": entity, "action": action, "error": "connect ECONNREFUSED"}
    operations.append(line | ({"payload": payload} if payload else {}))
with open(sys.argv[1], "w") as out:
    out.writelines(json.dumps(line) + "\n" for line in operations)
with open(sys.argv[2], "w") as out:
    json.dump(sorted(model.values(), key=lambda one: one["id"]), out)
PY

returns_config() {
    configure "url = \"http://127.0.0.1:$REST\"
$(route_of CREATE POST /returns payload)
$(route_of UPDATE PUT '/returns/{entity_id}' payload)
$(route_of DELETE DELETE '/returns/{entity_id}' none)"
}

route_of() { # route_of ACTION METHOD PATH BODY
    printf '[[route]]\nentity_type = "RETURN"\naction = "%s"\nmethod = "%s"\npath = "%s"\nbody = "%s"\n' "$@"
}

final_returns() { # prints the server's returns in the model's format
    timeout 60 python3 - "http://127.0.0.1:$REST/returns" <<'PY'
import json, sys, urllib.request
found = json.load(urllib.request.urlopen(sys.argv[1], timeout=10))
print(json.dumps(sorted(found, key=lambda one: one["id"])), end="")
PY
}

part_json_server() {
    need node nodejs
    need npm npm
    mkdir "$WORK/npm"
    (cd "$WORK/npm" && timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts "json-server@$JSON_SERVER" >/dev/null)
    read -r REST <<<"$(free_ports 1)"
    timeout 60 python3 "$WORK/returns.py" "$WORK/operations" "$WORK/model"
    returns_config
    start_agent
    resyncd record - <"$WORK/operations" >/dev/null
    becomes "json-server is down: all is kept, none counted" 15 "len(f) == 72 and counted == 0 and u['state'] == 'offline'"
    echo '{"returns":[]}' >"$WORK/db.json"
    serve json-server.log node "$WORK/npm/node_modules/json-server/lib/cli/bin.js" --host 127.0.0.1 --port "$REST" "$WORK/db.json"
    wait_port "$REST"
    becomes "json-server is up: unsent is 0" 90 "not f and h['pending'] == 0"
    same "json-server: its state is the model's" "$(cat "$WORK/model")" "$(final_returns)"
    stop_agent
}

# ---- all ------------------------------------------------------------------------------------------

need python3 python3
for part in "${PARTS[@]}"; do "part_$part"; done
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ]
