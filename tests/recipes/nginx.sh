# nginx in front of three receivers on one file (part nginx of engines.sh), with the recipe's own
# configuration except for TLS, which tests/real/run.sh tests.

serve_back_end() { # serve_back_end PORT: its id is then the last of PIDS
    serve "back-$1.log" python3 "$RECIPES/receiver/receiver.py" "$1" "$WORK/behind.db"
    wait_port "$1"
}

behind_nginx() { # how many rows the receivers have
    timeout 60 python3 -c 'import sqlite3,sys; print(*sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM received").fetchone())' "$WORK/behind.db"
}

serve_nginx() { # nginx at $FRONT, with $WORK/nginx/recipe.conf in its http{}
    cat >"$WORK/nginx/conf" <<CONF
daemon off;
user $(id -un);
worker_processes 2;
pid $WORK/nginx/pid;
error_log $WORK/nginx/error.log;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
    log_format seen '\$status \$request_method \$upstream_addr \$uri \$msec \$http_resync_terminal';
    access_log $WORK/nginx/access.log seen;
    client_body_temp_path $WORK/nginx/t1; proxy_temp_path $WORK/nginx/t2; fastcgi_temp_path $WORK/nginx/t3;
    uwsgi_temp_path $WORK/nginx/t4; scgi_temp_path $WORK/nginx/t5;
    include $WORK/nginx/recipe.conf;
}
CONF
    serve nginx/out nginx -p "$WORK/nginx" -e "$WORK/nginx/error.log" -c "$WORK/nginx/conf"
    wait_port "$FRONT"
}

nginx_before_receivers() {
    mkdir "$WORK/nginx"
    # The rate is one that a test can exceed.
    sed -e "s|listen 443 ssl;|listen ${FRONT_ADDRESS:-127.0.0.1}:$FRONT;|" -e '/ssl_certificate/d' \
        -e "s|10.0.0.11:8080|127.0.0.1:$BACK1|" -e "s|10.0.0.12:8080|127.0.0.1:$BACK2|" -e "s|10.0.0.13:8080|127.0.0.1:$BACK3|" \
        -e "s|/etc/nginx/maintenance|$WORK/maintenance|" -e "s|rate=500r/s|rate=${RATE:-20}r/s|" -e "s|burst=250|burst=${BURST:-5}|" \
        "$RECIPES/nginx/resyncd.conf" >"$WORK/nginx/recipe.conf"
    serve_nginx
}

said() { # said STATUS: how often nginx has answered a POST so
    grep -c "^$1 POST" "$WORK/nginx/access.log" || true
}

part_nginx() {
    read -r FRONT BACK1 BACK2 BACK3 <<<"$(free_ports 4)"
    local first second third
    serve_back_end "$BACK1"; first=${PIDS[-1]}
    serve_back_end "$BACK2"; second=${PIDS[-1]}
    serve_back_end "$BACK3"; third=${PIDS[-1]}
    nginx_before_receivers
    recipe nginx "s|https://hq.example|http://127.0.0.1:$FRONT|"
    start_agent

    # More than the limit allows, and one receiver dies meanwhile.
    record_sales 60
    becomes "nginx: the terminals are slowed down" 20 "u['state'] in ('throttled', 'waiting')"
    kill9 "$first"
    becomes "nginx, one of three killed: all delivered, none counted" 90 "not f and h['critical'] == 0"
    same "nginx, one of three killed: each once" 60 "$(behind_nginx)"
    verdict "$(grep -q "POST 127.0.0.1:$BACK1, 127" "$WORK/nginx/access.log"; echo $?)" "nginx, one of three killed: another was asked" never
    verdict $(($(said 429) > 0 ? 0 : 1)) "nginx: it did say 429" "never"
    verdict $(($(said 429) < 60 ? 0 : 1)) "nginx: it was not hammered" "$(said 429) times 429"

    # All of them die: 502.
    kill9 "$second"
    kill9 "$third"
    record_sales 6
    becomes "nginx, all killed: nothing is counted" 20 "len(f) == 6 and counted == 0 and u['state'] != 'online'"
    verdict $(($(said 502) > 0 ? 0 : 1)) "nginx, all killed: it did say 502" "never"
    serve_back_end "$BACK2"
    second=${PIDS[-1]}
    becomes "nginx, one is back: all delivered" 60 "not f and h['critical'] == 0"
    same "nginx, one is back: each once" 66 "$(behind_nginx)"
    stop_agent
    # Two of three are dead: whichever nginx asks first, the third answers.
    same "nginx, one is back: it answers every request" 0 "$(unreachable "http://127.0.0.1:$FRONT/sync" 12)"

    # One bad request must not exclude the receiver for all others.
    break_receiver 12
    class_of "nginx, a request has broken a receiver: others are delivered" delivered SALE x

    touch "$WORK/maintenance"
    class_of "nginx in maintenance" throttled SALE x
    same "nginx in maintenance: when to come back" 30 "$(retry_after "http://127.0.0.1:$FRONT/sync")"
    rm "$WORK/maintenance"
    finish "$second"
}

break_receiver() { # break_receiver N: N requests on which the receiver closes the connection, as it does when it crashes
    local n
    for n in $(seq "$1"); do
        timeout 60 python3 - "$FRONT" <<'PY'
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) as line:
    line.sendall(b"POST /sync HTTP/1.1\r\nHost: hq\r\nConnection: close\r\n\r\n")
    assert b" 502 " in line.recv(100), "the receiver answers a request without a Content-Length"
PY
    done
}

unreachable() { # unreachable URL N: how many of N probes nginx answers itself, with 502
    timeout 60 python3 - "$1" "$2" <<'PY'
import sys, time, urllib.error, urllib.request
bad = 0
for _ in range(int(sys.argv[2])):
    try:
        urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"), timeout=50).close()
    except urllib.error.HTTPError as error:
        bad += error.code == 502
    time.sleep(0.06)  # below the rate limit
print(bad)
PY
}

retry_after() { # retry_after URL
    timeout 60 python3 - "$1" <<'PY'
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], b"{}", timeout=50)
except urllib.error.HTTPError as error:
    print(error.headers["Retry-After"])
PY
}
