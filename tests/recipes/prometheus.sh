# Collects the agent's metrics through node-exporter into Prometheus, with the recipe's rules (part
# prometheus of engines.sh).

part_prometheus() {
    local rc=0 exporter server dir="$WORK/textfile"
    { timeout 60 promtool check rules "$RECIPES/prometheus/alerts.yml" &&
        timeout 60 promtool test rules "$RECIPES/prometheus/alerts_test.yml"; } >"$WORK/promtool.log" 2>&1 || rc=$?
    verdict $rc "promtool: the rules are right, and do what their tests say" "$(cat "$WORK/promtool.log")"

    mkdir "$dir"
    read -r EXPORTER SERVER NOBODY <<<"$(free_ports 3)"
    recipe prometheus "s|/var/lib/prometheus/node-exporter|$dir|"
    # An unreachable upstream, and a failure without a route.
    cat >"$WORK/agent/resyncd.d/upstream.toml" <<TOML
[upstream.hq]
url = "http://127.0.0.1:$NOBODY"
[[route]]
entity_type = "SALE"
path = "/"
body = "envelope"
TOML
    start_agent
    record_sales 2
    resyncd record --type OTHER --entity o-1 --action CREATE --error 'connect ETIMEDOUT' >/dev/null
    serve exporter.log prometheus-node-exporter --web.listen-address="127.0.0.1:$EXPORTER" \
        --collector.disable-defaults --collector.textfile --collector.textfile.directory="$dir"
    exporter=${PIDS[-1]}
    wait_port "$EXPORTER"
    cat >"$WORK/prometheus.yml" <<YAML
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [$RECIPES/prometheus/alerts.yml]
scrape_configs:
  - job_name: terminals
    static_configs: [{targets: ["127.0.0.1:$EXPORTER"]}]
YAML
    serve prometheus.log prometheus --config.file="$WORK/prometheus.yml" --storage.tsdb.path="$WORK/prometheus" \
        --web.listen-address="127.0.0.1:$SERVER"
    server=${PIDS[-1]}
    wait_port "$SERVER"
    holds "Prometheus: a failure that needs a person is an alert" 'ALERTS{alertname="ResyncdNeedsAPerson"}'
    holds "Prometheus: an upstream that is away is an alert" 'ALERTS{alertname="ResyncdUpstreamAway",upstream="hq"}'
    holds "Prometheus: the file's age is known" 'node_textfile_mtime_seconds{file=~".*/resyncd\\.prom"}'
    holds "node-exporter: nothing is wrong with the file" 'node_textfile_scrape_error == 0'
    stop_agent
    finish "$server"
    finish "$exporter"
}

holds() { # holds NAME QUERY: waits until Prometheus has a result for it
    local rc=0 said
    said=$(timeout 60 python3 - "http://127.0.0.1:$SERVER/api/v1/query" "$2" <<'PY'
import json, sys, time, urllib.parse, urllib.request
url = sys.argv[1] + "?" + urllib.parse.urlencode({"query": sys.argv[2]})
end = time.monotonic() + 30
while time.monotonic() < end:
    said = json.load(urllib.request.urlopen(url, timeout=50))
    if said["data"]["result"]:
        sys.exit(0)
    time.sleep(0.2)
sys.exit(str(said))
PY
    2>&1) || rc=$?
    verdict $rc "$1" "$said"
}
