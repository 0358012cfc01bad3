# RabbitMQ (part rabbitmq of engines.sh): its own broker, with the recipe's definitions, user,
# configuration and consumer.

serve_rabbitmq() {
    serve rabbitmq.log rabbitmq-server
    BROKER=${PIDS[-1]}
    wait_port "$API" 600 || { tail -n 30 "$WORK/rabbitmq.log"; return 1; }
    timeout 300 rabbitmqctl -q await_startup >/dev/null
}

rabbitmq_environment() {
    # Debian's wrappers change to their own user and to /var/lib.
    export PATH=/usr/lib/rabbitmq/bin:$PATH
    export HOME="$WORK/rabbitmq" RABBITMQ_NODENAME=engines@localhost ERL_EPMD_PORT=$EPMD ERL_EPMD_ADDRESS=127.0.0.1
    export RABBITMQ_MNESIA_BASE="$WORK/rabbitmq/data" RABBITMQ_LOGS=- RABBITMQ_DIST_PORT=$DIST
    export RABBITMQ_ENABLED_PLUGINS_FILE="$WORK/rabbitmq/plugins" RABBITMQ_CONFIG_FILE="$WORK/rabbitmq/rabbitmq.conf"
    export RABBITMQ_PID_FILE="$WORK/rabbitmq/pid" RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_GENERATED_CONFIG_DIR="$WORK/rabbitmq/generated"
    # Runs the broker instead of its start script, so that it can be killed.
    export RUNNING_UNDER_SYSTEMD=1
    export ERL_CRASH_DUMP_SECONDS=0 # A killed broker leaves no dump in the current directory.
    # Schedulers must not spin while idle.
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+sbwt none -kernel inet_dist_use_interface {127,0,0,1}"
    mkdir -p "$WORK/rabbitmq"
    echo '[rabbitmq_management].' >"$RABBITMQ_ENABLED_PLUGINS_FILE"
    cat >"$RABBITMQ_CONFIG_FILE" <<CONF
listeners.tcp.1 = 127.0.0.1:$AMQP
management.tcp.ip = 127.0.0.1
management.tcp.port = $API
disk_free_limit.absolute = 10MB
CONF
}

consume() { # consume MESSAGES: takes this many messages, and ends
    local n
    serve consumer.log /usr/bin/python3 "$RECIPES/rabbitmq/consumer.py" "amqp://guest:guest@127.0.0.1:$AMQP/%2F" "$WORK/consumed.db"
    for n in $(seq 200); do
        [ "$(consumed '')" -lt "$1" ] || break
        sleep 0.1
    done
    finish "${PIDS[-1]}"
}

consumed() { # consumed TEXT: how many lines of the consumer begin with TEXT
    grep -c "^$1" "$WORK/consumer.log" || true
}

consumed_table() {
    timeout 60 python3 - "$WORK/consumed.db" <<'PY'
import json, sqlite3, sys
for entity, body in sqlite3.connect(sys.argv[1]).execute("SELECT entity_id, body FROM received ORDER BY rowid"):
    payload = json.loads(body)
    assert payload["note"] == 'ö "€', payload
    print(entity, payload["step"])
PY
}

broker() { # broker METHOD PATH [BODY]: a request of the broker's administrator
    http "$1" "http://127.0.0.1:$API/api/$2" "${3:-}" "Authorization: Basic $(printf guest:guest | base64)" "Content-Type: application/json"
}

part_rabbitmq() {
    local line="http://127.0.0.1:" secret
    read -r EPMD DIST AMQP API LOSING <<<"$(free_ports 5)"
    rabbitmq_environment
    secret="$WORK/rabbitmq.basic"
    printf 'till:a-secret' >"$secret"
    chmod 600 "$secret"
    recipe rabbitmq "s|https://rabbitmq.example:15671|$line$LOSING|" "s|/etc/resyncd/rabbitmq.basic|$secret|"
    start_agent
    record_steps 4 3
    away "RabbitMQ" 12

    serve epmd.log epmd -address 127.0.0.1 -port "$EPMD"
    serve_rabbitmq
    printf a-secret | timeout 300 "$RECIPES/rabbitmq/setup.sh" till >"$WORK/setup.log" 2>&1 || cat "$WORK/setup.log"
    line_that_loses "$LOSING" "$API"
    becomes "RabbitMQ: all delivered, none counted" 60 "not f and h['critical'] == 0"
    same "RabbitMQ: answers were lost on the way" "$LOST" "$(lost)"
    stop_agent

    # Confirmed messages survive the broker.
    kill9 "$BROKER"
    serve_rabbitmq
    consume $((12 + LOST))
    same "RabbitMQ killed: each is taken once and in order" "s-1:1,2,3 s-2:1,2,3 s-3:1,2,3 s-4:1,2,3" "$(consumed_table | in_order)"
    same "RabbitMQ: a duplicate is recognized by its message_id" "$LOST" "$(consumed 'seen before')"
    rabbitmq_noes "$secret"
    rabbitmq_page
    # An orderly end is slow and not needed here.
    kill9 "$BROKER"
}

# The page's commands, on a broker that was set up before and spoiled since.
rabbitmq_page() {
    local HOME_OF_PAGES=$WORK/rabbitmq n
    page_delivers rabbitmq 1 "s|127.0.0.1:15672|127.0.0.1:$API|"
    : >"$WORK/consumer.log"
    serve_page consumer.log rabbitmq 2 "s|127.0.0.1:5672|127.0.0.1:$AMQP|"
    for n in $(seq 200); do
        [ "$(consumed taken)" -lt 1 ] || break
        sleep 0.1
    done
    verdict $(($(consumed taken) > 0 ? 0 : 1)) "the page of rabbitmq, block 2: the message is taken" "$(tail -n 5 "$WORK/consumer.log")"
    finish "${PIDS[-1]}"
}

rabbitmq_noes() { # rabbitmq_noes SECRET_FILE
    recipe rabbitmq "s|https://rabbitmq.example:15671|http://127.0.0.1:$API|" "s|/etc/resyncd/rabbitmq.basic|$1|"
    echo '{"total":12.5}' >"$WORK/payload"
    local n classes= payload=(--payload-file "$WORK/payload")
    class_of "RabbitMQ" delivered SALE x "${payload[@]}"
    class_of "RabbitMQ, without a payload" refused SALE x
    broker PUT policies/%2F/full '{"pattern":"^resyncd$","definition":{"max-length":1,"overflow":"reject-publish"}}' >/dev/null
    # The limit is evaluated with a delay, and is exceeded a little.
    for n in 1 2 3 4 5; do classes+=" $(try_once SALE x "${payload[@]}")"; done
    verdict "$(grep -q '"class":"busy"' <<<"$classes"; echo $?)" "RabbitMQ, the queue is full => busy" "$classes"
    broker DELETE policies/%2F/full >/dev/null
    broker DELETE queues/%2F/resyncd >/dev/null
    class_of "RabbitMQ, no queue is bound" misconfigured SALE x "${payload[@]}"
    start_agent
    record_sales 3
    becomes "RabbitMQ, no queue is bound: nothing is counted" 20 "len(f) == 3 and counted == 0 and u['state'] == 'blocked'"
    broker POST definitions "$(cat "$RECIPES/rabbitmq/definitions.json")" >/dev/null
    becomes "RabbitMQ, the queue is bound: all delivered" 60 "not f and h['critical'] == 0"
    stop_agent
    broker PUT permissions/%2F/till '{"configure":"^$","write":"^$","read":"^$"}' >/dev/null
    class_of "RabbitMQ, the user may not write" misconfigured SALE x "${payload[@]}"
    broker DELETE exchanges/%2F/resyncd >/dev/null
    class_of "RabbitMQ, no such exchange" misconfigured SALE x "${payload[@]}"
    same "RabbitMQ: the till's user may not read" 4 "$(http POST "http://127.0.0.1:$API/api/queues/%2F/resyncd/get" \
        '{"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}' "Authorization: Basic $(base64 "$1")" | cut -c1)"
    printf 'till:wrong' >"$1"
    class_of "RabbitMQ, a wrong password" misconfigured SALE x "${payload[@]}"
}
