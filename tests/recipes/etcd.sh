# etcd (part etcd of engines.sh): a cluster of three nodes behind nginx, with the recipe's nginx configuration,
# set-up, login and routes. CREATE, UPDATE and DELETE of two types of entity, and the incidents: the cluster is
# away, answers are lost, nodes are stopped in the middle of requests and killed one after the other, a record is
# refused, tokens end.

# Seconds until an unused token ends: short enough to wait for, long enough to be used.
ETCD_TOKEN_TTL=8

serve_etcd() { # serve_etcd N: node N of 1, 2, 3; its id is then in ETCD[N]
    local n=$1 cluster="" i
    for i in 1 2 3; do cluster+="${cluster:+,}node$i=http://127.0.0.1:${ETCD_PEERS[i]}"; done
    serve "etcd-$n.log" etcd --name "node$n" --data-dir "$WORK/etcd/$n" --initial-cluster "$cluster" \
        --initial-cluster-state new --initial-cluster-token "$WORK" \
        --listen-peer-urls "http://127.0.0.1:${ETCD_PEERS[n]}" --initial-advertise-peer-urls "http://127.0.0.1:${ETCD_PEERS[n]}" \
        --listen-client-urls "http://127.0.0.1:${ETCD_CLIENTS[n]}" --advertise-client-urls "http://127.0.0.1:${ETCD_CLIENTS[n]}" \
        --auth-token simple --auth-token-ttl "$ETCD_TOKEN_TTL" --bcrypt-cost 4 --unsafe-no-fsync
    ETCD[n]=${PIDS[-1]}
}

await_etcd() { # await_etcd N: until node N knows a leader
    local n
    for n in $(seq 300); do
        case $(http GET "http://127.0.0.1:${ETCD_CLIENTS[$1]}/health" 2>/dev/null) in *'"health":"true"'*) return 0 ;; esac
        sleep 0.1
    done
    tail -n 20 "$WORK"/etcd-*.log >&2
    return 1
}

etcd_front() {
    mkdir -p "$WORK/nginx"
    sed -e "s|listen 2379 ssl;|listen 127.0.0.1:$FRONT;|" -e '/ssl_certificate/d' \
        -e "s|10.0.0.21:2379|127.0.0.1:${ETCD_CLIENTS[1]}|" -e "s|10.0.0.22:2379|127.0.0.1:${ETCD_CLIENTS[2]}|" \
        -e "s|10.0.0.23:2379|127.0.0.1:${ETCD_CLIENTS[3]}|" -e 's|proxy_read_timeout 10s|proxy_read_timeout 2s|' \
        "$RECIPES/etcd/etcd.conf" >"$WORK/nginx/recipe.conf"
    serve_nginx
}

# An operator's look at it: `etcd_as_root PATH JSON`, by any node that answers.
etcd_as_root() {
    timeout 60 python3 - "$@" "${ETCD_CLIENTS[@]:1}" <<'PY'
import json, sys, urllib.error, urllib.request
path, body, *ports = sys.argv[1:]
def post(port, path, body, headers={}):
    request = urllib.request.Request("http://127.0.0.1:%s/v3/%s" % (port, path), body.encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
for port in ports:
    try:
        token = post(port, "auth/authenticate", '{"name":"root","password":"root-secret"}')["token"]
        print(json.dumps(post(port, path, body, {"Authorization": token})))
        break
    except OSError as error:
        said = error
else:
    sys.exit("no node answers: %s" % said)
PY
}

# "entity step" of each key that was taken, in the order of etcd's revisions.
etcd_taken() {
    local from to
    from=$(printf resync/k/ | base64) to=$(printf resync/k0 | base64)
    etcd_as_root kv/range "{\"key\":\"$from\",\"range_end\":\"$to\",\"sort_target\":\"CREATE\",\"sort_order\":\"ASCEND\"}" | timeout 60 python3 -c '
import base64, json, sys
for pair in json.load(sys.stdin).get("kvs", []):
    payload = json.loads(base64.b64decode(pair["value"]))
    assert payload["note"] == "ö \"€", payload
    print(payload["entity"], payload["step"])'
}

# The entities that are there, each with the step of its last change.
etcd_entities() {
    local prefix
    for prefix in s c; do
        etcd_as_root kv/range "{\"key\":\"$(printf "resync/$prefix/" | base64)\",\"range_end\":\"$(printf "resync/${prefix}0" | base64)\"}" | timeout 60 python3 -c '
import base64, json, sys
for pair in json.load(sys.stdin).get("kvs", []):
    key, payload = base64.b64decode(pair["key"]).decode(), json.loads(base64.b64decode(pair["value"]))
    print("%s:%s" % (key.split("/", 1)[1], payload["step"]))'
    done | sort | paste -sd' '
}

record_changes() { # record_changes FROM ENTITIES ACTION…: of as many sales and customers, each with these actions in turn
    local from=$1 entities=$2 step=0 action n kind
    shift 2
    for action in "$@"; do
        step=$((step + 1))
        for n in $(seq "$from" $((from + entities - 1))); do
            for kind in SALE CUSTOMER; do
                printf '{"entity_type":"%s","entity_id":"e-%s","action":"%s","error":"connect ETIMEDOUT","payload":{"entity":"%s-%s","step":%s,"note":"ö \\"€"}}\n' \
                    "$kind" "$n" "$action" "$kind" "$n" "$step"
            done
        done
    done | resyncd record - >/dev/null
}

etcd_token_of_till() { http POST "http://127.0.0.1:${ETCD_CLIENTS[1]}/v3/auth/authenticate" "$(cat "$WORK/etcd-login.json")" | sed 's/^200 //' | field token; }

part_etcd() {
    local n line="http://127.0.0.1:"
    ETCD=() ETCD_PEERS=(0) ETCD_CLIENTS=(0)
    read -r FRONT LOSING ETCD_PEERS[1] ETCD_PEERS[2] ETCD_PEERS[3] ETCD_CLIENTS[1] ETCD_CLIENTS[2] ETCD_CLIENTS[3] <<<"$(free_ports 8)"
    export GOMAXPROCS=2
    printf root-secret >"$WORK/etcd-root"
    printf '{"name":"till","password":"a-secret"}' >"$WORK/etcd-login.json"
    chmod 600 "$WORK/etcd-login.json"
    recipe etcd "s|https://etcd.example:2379|$line$LOSING|" "s|/etc/resyncd/etcd-login.json|$WORK/etcd-login.json|"
    start_agent
    record_changes 1 3 CREATE UPDATE DELETE
    away "etcd" 18

    for n in 1 2 3; do serve_etcd $n; done
    for n in 1 2 3; do await_etcd $n; done
    etcd_front
    timeout 300 "$RECIPES/etcd/setup.sh" "$line${ETCD_CLIENTS[1]}" "$WORK/etcd-root" "$WORK/etcd-login.json"
    line_that_loses "$LOSING" "$FRONT"
    becomes "etcd: all delivered, none counted" 60 "not f and h['critical'] == 0"
    same "etcd: answers were lost on the way" "$LOST" "$(lost)"
    same "etcd: each once and in order" "$(etcd_expected 1 3 1,2,3)" "$(etcd_taken | in_order)"
    same "etcd: what was deleted is gone" "" "$(etcd_entities)"
    etcd_nodes_end
    etcd_tokens_end
    etcd_refuses
    etcd_page
    for n in 1 2 3; do kill9 "${ETCD[n]}"; done
}

etcd_expected() { # etcd_expected FROM ENTITIES STEPS: as `in_order` prints them
    local kind n
    for kind in CUSTOMER SALE; do for n in $(seq "$1" $(($1 + $2 - 1))); do echo "$kind-$n:$3"; done; done | LC_ALL=C sort | paste -sd' '
}

of_etcd() { LC_ALL=C grep -E "^(SALE|CUSTOMER)-($1) " || true; } # of_etcd NUMBERS: only these entities

# A node is stopped while it has requests; then one after the other is killed and comes back, and the terminal
# records all the while.
etcd_nodes_end() {
    local n child from=10
    read -r child </proc/"${ETCD[2]}"/task/"${ETCD[2]}"/children || [ -n "$child" ]
    kill -STOP "$child"
    record_changes 10 8 CREATE UPDATE UPDATE
    becomes "etcd, a node stops in the middle of requests: all delivered, none counted" 90 "not f and h['critical'] == 0"
    verdict "$(grep -q " 127.0.0.1:${ETCD_CLIENTS[2]}, 127" "$WORK/nginx/access.log"; echo $?)" \
        "etcd, a node stops in the middle of requests: another was asked" never
    kill -CONT "$child"
    for n in 1 2 3; do
        from=$((from + 10))
        record_changes $from 5 CREATE UPDATE DELETE CREATE
        kill9 "${ETCD[n]}"
        becomes "etcd, node $n killed: all delivered, none counted" 90 "not f and h['critical'] == 0"
        serve_etcd $n
        await_etcd $n
    done
    same "etcd, a node stopped: each once and in order" "$(etcd_expected 10 8 1,2,3)" "$(etcd_taken | of_etcd '1[0-7]' | in_order)"
    for n in 2 3 4; do
        same "etcd, nodes killed: each once and in order ($((n - 1)))" "$(etcd_expected ${n}0 5 1,2,3,4)" "$(etcd_taken | of_etcd "$n[0-4]" | in_order)"
    done
    kill9 "${ETCD[1]}"
    kill9 "${ETCD[2]}"
    record_changes 50 2 CREATE
    becomes "etcd without a majority: all is kept, nothing counted" 60 "len(f) == 4 and counted == 0 and u['state'] != 'online'"
    serve_etcd 1
    await_etcd 1
    becomes "etcd has a majority again: all delivered" 90 "not f and h['critical'] == 0"
    serve_etcd 2
    await_etcd 2
    same "etcd has a majority again: each once" "$(etcd_expected 50 2 1)" "$(etcd_taken | of_etcd '5[0-1]' | in_order)"
}

etcd_logins() { grep -c " /v3/auth/authenticate " "$WORK/nginx/access.log" || true; } # how many there were

etcd_tokens_end() {
    local token n logins
    # This token is younger than the agent's, so the agent's has ended when this one has.
    token=$(etcd_token_of_till)
    local range="{\"key\":\"$(printf resync/ | base64)\"}"
    for n in $(seq 60); do
        # Asking prolongs it, therefore only once a TTL.
        sleep $((ETCD_TOKEN_TTL + 2))
        case $(http POST "http://127.0.0.1:${ETCD_CLIENTS[1]}/v3/kv/range" "$range" "Authorization: $token") in 401*) break ;; esac
    done
    logins=$(etcd_logins)
    record_changes 60 2 CREATE
    becomes "etcd, the token has ended: all delivered" 60 "not f and h['critical'] == 0"
    verdict $(($(etcd_logins) > logins ? 0 : 1)) "etcd, the token has ended: the agent has logged in again" "$logins logins"
    # Another password: tokens of the user end at once, and the login file is behind.
    etcd_as_root auth/user/changepw '{"name":"till","password":"another"}' >/dev/null
    record_changes 70 2 CREATE
    becomes "etcd, another password: nothing is counted" 60 "len(f) == 4 and counted == 0 and u['state'] == 'blocked'"
    printf '{"name":"till","password":"another"}' >"$WORK/etcd-login.json"
    becomes "etcd, the file has the other password: all delivered" 90 "not f and h['critical'] == 0"
    same "etcd, tokens ended: each once" "$(etcd_expected 60 2 1) $(etcd_expected 70 2 1)" \
        "$(etcd_taken | of_etcd '6[0-1]' | in_order) $(etcd_taken | of_etcd '7[0-1]' | in_order)"
}

etcd_page() { # the page's node, set up by its commands
    local client peer
    read -r client peer <<<"$(free_ports 2)"
    client=http://127.0.0.1:$client peer=http://127.0.0.1:$peer
    ETCD_LISTEN_CLIENT_URLS=$client ETCD_ADVERTISE_CLIENT_URLS=$client ETCD_LISTEN_PEER_URLS=$peer \
        ETCD_INITIAL_ADVERTISE_PEER_URLS=$peer ETCD_INITIAL_CLUSTER=default=$peer serve_page etcd-page.log etcd 1
    ETCD_CLIENTS[4]=${client##*:}
    await_etcd 4
    page_delivers etcd 2 "s#http://127.0.0.1:2379 #$client #" "s#https://etcd.example|http://127.0.0.1|#https://etcd.example:2379|$client|#"
    finish "${PIDS[-1]}"
}

etcd_refuses() {
    stop_agent
    local payload="$WORK/payload"
    echo '{"entity":"SALE-80","step":1,"note":"ö \"€"}' >"$payload"
    class_of "etcd" delivered SALE e-80 --payload-file "$payload"
    class_of "etcd, CREATE of an existing key" refused SALE e-80 --payload-file "$payload"
    etcd_as_root auth/role/revoke "{\"role\":\"till\",\"key\":\"$(printf resync/ | base64)\",\"range_end\":\"$(printf resync0 | base64)\"}" >/dev/null
    class_of "etcd, the role does not cover the keys" misconfigured SALE e-81 --payload-file "$payload"
    etcd_as_root auth/role/grant "{\"name\":\"till\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"$(printf resync/ | base64)\",\"range_end\":\"$(printf resync0 | base64)\"}}" >/dev/null
    # One record is refused, and nothing but that entity waits for it.
    start_agent
    record_changes 80 1 CREATE
    record_changes 82 2 CREATE UPDATE
    becomes "etcd refuses one record: it needs a person, all others are delivered" 60 "len(f) == 1 and h['critical'] == 1"
    same "etcd refuses one record: the others once and in order" "$(etcd_expected 82 2 1,2)" "$(etcd_taken | of_etcd '8[2-3]' | in_order)"
    stop_agent
}
