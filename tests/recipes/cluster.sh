# A RabbitMQ cluster (part cluster of engines.sh): three nodes behind nginx, a quorum queue, publisher confirms by
# the HTTP API, and a consumer that writes to PostgreSQL. Many agents deliver while one node after the other is
# killed and comes back.
#
# CLUSTER_AGENTS (5) agents with CLUSTER_FAILURES (4000) failures together, enough to be caught at work. The long form:
#   CLUSTER_AGENTS=200 CLUSTER_FAILURES=50000 tests/recipes/engines.sh AGENT cluster

CLUSTER_AGENTS=${CLUSTER_AGENTS:-5}
CLUSTER_FAILURES=${CLUSTER_FAILURES:-4000}
# Entities of an agent.
CLUSTER_ENTITIES=5

in_cluster() { # in_cluster N COMMAND…: with the environment of node N
    local n=$1 home="$WORK/rabbitmq"
    shift
    env PATH="/usr/lib/rabbitmq/bin:$PATH" HOME="$home" RABBITMQ_NODENAME="node$n@localhost" ERL_EPMD_PORT="$EPMD" \
        ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_MNESIA_BASE="$home/data$n" RABBITMQ_LOGS=- RABBITMQ_DIST_PORT="${DISTS[n]}" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/plugins" RABBITMQ_CONFIG_FILE="$home/$n.conf" RABBITMQ_PID_FILE="$home/pid$n" \
        RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_GENERATED_CONFIG_DIR="$home/generated$n" RUNNING_UNDER_SYSTEMD=1 \
        ERL_CRASH_DUMP_SECONDS=0 RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+sbwt none -kernel inet_dist_use_interface {127,0,0,1}" \
        "$@"
}

# A wrapper, so that what `serve` starts and `kill9` ends is the broker itself.
serve_cluster_node() { # serve_cluster_node N: its id is then in NODES[N]
    local rc=0
    in_cluster "$1" bash -c 'export -p' >"$WORK/rabbitmq/environment$1"
    serve "rabbitmq-$1.log" bash -c 'source "$1"; exec rabbitmq-server' node "$WORK/rabbitmq/environment$1"
    NODES[$1]=${PIDS[-1]}
    wait_port "${APIS[$1]}" 3000 || rc=$?
    [ $rc = 0 ] || { tail -n 30 "$WORK/rabbitmq-$1.log" >&2; return 1; }
    in_cluster "$1" timeout 300 rabbitmqctl -q await_startup >/dev/null
}

cluster_api() { # cluster_api N PATH: what node N's API says
    http GET "http://127.0.0.1:${APIS[$1]}/api/$2" "" "Authorization: Basic $(printf guest:guest | base64)" | sed 's/^200 //'
}

await_members() { # await_members N COUNT: until so many members of the queue are online, as node N sees it
    local n found=
    for n in $(seq 1500); do
        found=$(cluster_api "$1" queues/%2F/resyncd 2>/dev/null | timeout 60 python3 -c 'import json,sys; print(len(json.load(sys.stdin)["online"]))' 2>/dev/null) || true
        [ "$found" != "$2" ] || return 0
        sleep 0.2
    done
    echo "the queue has $found members online, not $2" >&2
    return 1
}

cluster_sql() { timeout 120 "${AS_POSTGRES[@]}" psql "$DSN" -qAtX -c "$1"; }

cluster_taken() { cluster_sql "SELECT count(*) FROM received"; }

await_taken() { # await_taken COUNT SECONDS: until the consumer has so many keys
    local end=$((SECONDS + $2))
    until [ "$(cluster_taken)" -ge "$1" ]; do
        [ $SECONDS -lt $end ] || { echo "the consumer has $(cluster_taken) keys, not $1" >&2; return 1; }
        sleep 0.2
    done
}

cluster_starts() {
    local n home="$WORK/rabbitmq"
    mkdir -p "$home"
    (umask 077; printf 'COOKIEOFTHETEST' >"$home/.erlang.cookie")
    echo '[rabbitmq_management].' >"$home/plugins"
    for n in 1 2 3; do
        cat >"$home/$n.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:${AMQPS[n]}
management.tcp.ip = 127.0.0.1
management.tcp.port = ${APIS[n]}
disk_free_limit.absolute = 10MB
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = node1@localhost
CONF
    done
    serve epmd.log epmd -address 127.0.0.1 -port "$EPMD"
    wait_port "$EPMD"
    for n in 1 2 3; do serve_cluster_node $n; done
    printf a-secret | in_cluster 1 timeout 400 "$RECIPES/rabbitmq/setup.sh" till >"$WORK/setup.log" 2>&1 ||
        { cat "$WORK/setup.log" >&2; return 1; }
    await_members 1 3
}

cluster_front() {
    mkdir -p "$WORK/nginx"
    sed -e "s|listen 15671 ssl;|listen 127.0.0.1:$FRONT;|" -e '/ssl_certificate/d' \
        -e "s|10.0.0.31:15672|127.0.0.1:${APIS[1]}|" -e "s|10.0.0.32:15672|127.0.0.1:${APIS[2]}|" \
        -e "s|10.0.0.33:15672|127.0.0.1:${APIS[3]}|" "$RECIPES/rabbitmq/nginx.conf" >"$WORK/nginx/recipe.conf"
    serve_nginx
}

fleet() { # fleet COMMAND ARGUMENT…
    timeout "${SERVE_FOR:-600}" python3 "$HERE/fleet.py" "$@"
}

fleet_configuration() { # fleet_configuration RECIPE SED…: into $WORK/fleet.toml
    recipe "$@"
    {
        printf '[agent]\nterminal_id = "@TERMINAL@"\nstate_dir = "@DIR@"\nsocket = "@DIR@/app.sock"\nadmin_socket = "@DIR@/admin.sock"\n'
        printf '[retry]\nbackoff = ["1s"]\n'
        cat "$WORK/agent/resyncd.d/recipe.toml"
    } >"$WORK/fleet.toml"
}

start_fleet() { # start_fleet N [COMMAND…]: COMMAND starts each agent
    mkdir -p "$WORK/fleet"
    serve fleet.log python3 "$HERE/fleet.py" run "$AGENT" "$WORK/fleet" "$1" "$WORK/fleet.toml" "${@:2}"
    FLEET=${PIDS[-1]}
}

# All agents record a quarter of their failures, a node is killed when half of them have been delivered, and comes back
# when all have been delivered without it. So with each of the three.
nodes_are_killed() { # nodes_are_killed EACH: failures of an agent in a quarter
    local n live half=$(($1 * CLUSTER_AGENTS / 2))
    : >"$WORK/kills"
    for n in 1 2 3; do
        fleet record "$WORK/fleet" "$CLUSTER_AGENTS" "$1" "$CLUSTER_ENTITIES" $(((n - 1) * $1))
        live=$(fleet wait "$WORK/fleet" "$CLUSTER_AGENTS" "$CLUSTER_PATIENCE" $half)
        echo "killed $n $(date +%s.%N)" >>"$WORK/kills"
        kill9 "${NODES[n]}"
        verdict $((live > 0 ? 0 : 1)) "cluster, node $n killed while agents deliver" "all was delivered before"
        live=$(fleet wait "$WORK/fleet" "$CLUSTER_AGENTS" "$CLUSTER_PATIENCE" 0 2>&1) || true
        same "cluster, node $n killed: all delivered without it" 0 "$live"
        echo "back $n $(date +%s.%N)" >>"$WORK/kills"
        serve_cluster_node $n
        await_members $n 3
    done
}

part_cluster() {
    local n secret="$WORK/rabbitmq.basic" said each=$((CLUSTER_FAILURES / CLUSTER_AGENTS)) urls=()
    CLUSTER_PATIENCE=$((200 + CLUSTER_FAILURES / 20))
    export SERVE_FOR=$((600 + 4 * CLUSTER_PATIENCE))
    NODES=(0) DISTS=(0) AMQPS=(0) APIS=(0)
    read -r EPMD FRONT PGPORT DISTS[1] DISTS[2] DISTS[3] AMQPS[1] AMQPS[2] AMQPS[3] APIS[1] APIS[2] APIS[3] <<<"$(free_ports 12)"
    make_postgres
    cluster_starts
    cluster_front
    for n in 1 2 3; do urls+=("amqp://guest:guest@127.0.0.1:${AMQPS[n]}/%2F"); done
    serve consumer.log /usr/bin/python3 "$RECIPES/rabbitmq/consumer_postgres.py" "$DSN" "${urls[@]}"
    printf 'till:a-secret' >"$secret"
    chmod 600 "$secret"
    fleet_configuration rabbitmq "s|https://rabbitmq.example:15671|http://127.0.0.1:$FRONT|" "s|/etc/resyncd/rabbitmq.basic|$secret|"
    start_fleet "$CLUSTER_AGENTS"
    nodes_are_killed $((each / 4))
    # The last quarter, with all three, and what the division left over.
    date +%s.%N >"$WORK/begun"
    fleet record "$WORK/fleet" "$CLUSTER_AGENTS" $((each - each / 4 * 3)) "$CLUSTER_ENTITIES" $((each / 4 * 3))
    said=$(fleet wait "$WORK/fleet" "$CLUSTER_AGENTS" "$CLUSTER_PATIENCE" 0 2>&1) || true
    same "cluster: all delivered by all agents, none critical" 0 "$said"
    await_taken $((each * CLUSTER_AGENTS)) "$CLUSTER_PATIENCE"
    # What is behind the last one, such as duplicates, is taken too before it is counted.
    await_empty
    finish "$FLEET"
    said=$(fleet attempts "$WORK/fleet" "$CLUSTER_AGENTS")
    echo "attempts: $said"
    same "cluster: no attempt was counted" 0 "$(field counted <<<"$said")"
    same "cluster: every key once in effect" $((each * CLUSTER_AGENTS)) "$(cluster_taken)"
    same "cluster: in order for each entity" 0 "$(cluster_disorder)"
    /usr/bin/python3 "$HERE/cluster_figures.py" "$DSN" "$WORK/nginx/access.log" "$WORK/begun" "$WORK/kills"
    for n in 1 2 3; do kill9 "${NODES[n]}"; done
    finish "$POSTGRES"
}

await_empty() {
    local n said=
    for n in $(seq 1500); do
        said=$(cluster_api 1 queues/%2F/resyncd 2>/dev/null | timeout 60 python3 -c 'import json,sys; print(json.load(sys.stdin)["messages"])' 2>/dev/null) || true
        [ "$said" != 0 ] || return 0
        sleep 0.5
    done
    echo "the queue still has $said messages" >&2
    return 1
}

cluster_disorder() { # how many keys came after a later step of their entity
    cluster_sql "SELECT count(*) FROM (SELECT (body::json->>'step')::int AS step,
        lag((body::json->>'step')::int) OVER (PARTITION BY entity_id ORDER BY n) AS before FROM received) AS s WHERE step < before"
}
