# nginx in front of three receivers over one file (part nginx of engines.sh). The recipe's own
# configuration, without TLS, which tests/real/run.sh tests.

serve_back_end() { # serve_back_end PORT: its id is then the last of PIDS
    serve "back-$1.log" python3 "$RECIPES/receiver/receiver.py" "$1" "$WORK/behind.db"
    wait_port "$1"
}

behind_nginx() { # how many rows the receivers have
    timeout 10 python3 -c 'import sqlite3,sys; print(*sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM received").fetchone())' "$WORK/behind.db"
}

nginx_before_receivers() {
    mkdir "$WORK/nginx"
    # The rate is one that a test can exceed.
    sed -e "s|listen 443 ssl;|listen 127.0.0.1:$FRONT;|" -e '/ssl_certificate/d' \
        -e "s|10.0.0.11:8080|127.0.0.1:$BACK1|" -e "s|10.0.0.12:8080|127.0.0.1:$BACK2|" -e "s|10.0.0.13:8080|127.0.0.1:$BACK3|" \
        -e "s|/etc/nginx/maintenance|$WORK/maintenance|" -e 's|rate=500r/s|rate=20r/s|' -e 's|burst=250|burst=5|' \
        "$RECIPES/nginx/resyncd.conf" >"$WORK/nginx/resyncd.conf"
    cat >"$WORK/nginx/conf" <<CONF
daemon off;
user $(id -un);
worker_processes 2;
pid $WORK/nginx/pid;
error_log $WORK/nginx/error.log;
events {}
http {
    log_format seen '\$status \$request_method \$upstream_addr';
    access_log $WORK/nginx/access.log seen;
    client_body_temp_path $WORK/nginx/t1; proxy_temp_path $WORK/nginx/t2; fastcgi_temp_path $WORK/nginx/t3;
    uwsgi_temp_path $WORK/nginx/t4; scgi_temp_path $WORK/nginx/t5;
    include $WORK/nginx/resyncd.conf;
}
CONF
    serve nginx/out nginx -p "$WORK/nginx" -e "$WORK/nginx/error.log" -c "$WORK/nginx/conf"
    wait_port "$FRONT"
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

    # More than the limit lets pass, and one receiver dies on the way.
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

    touch "$WORK/maintenance"
    class_of "nginx in maintenance" throttled SALE x
    same "nginx in maintenance: when to come back" 30 "$(retry_after "http://127.0.0.1:$FRONT/sync")"
    rm "$WORK/maintenance"
    finish "$second"
}

retry_after() { # retry_after URL
    timeout 20 python3 - "$1" <<'PY'
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], b"{}", timeout=10)
except urllib.error.HTTPError as error:
    print(error.headers["Retry-After"])
PY
}
