# A chain of real agents (part chain of engines.sh): many stores, each a network namespace with one agent, on a bridge
# with the head office: one nginx with the recipe's configuration and three receivers over PostgreSQL. All have delivered
# something, then every store's line is cut, all record, and an hour later all lines are back within a second. What
# arrives is measured, as the simulation of tests/chain.rs measures it.
#
# The hour is not waited for: the agents are stopped meanwhile, as at night, and when they start, still without a line,
# their clocks are ahead by CHAIN_OUTAGE (3600) seconds.
#
# CHAIN_AGENTS (20) agents with CHAIN_BACKLOG (5) failures each, CHAIN_RATE (10) requests a second that nginx lets
# pass. With CHAIN_SVG and CHAIN_TRACE, a plot beside the simulated curve. The long form, and the picture of
# packaging/doc/chain.md:
#
#   OUTAGE_HOURS=1 TERMINALS=200 CAPACITY=20 BACKLOG=30 CHAIN_TRACE=target/chain.csv \
#       cargo test --locked --test chain -- --ignored a_trace_of_the_chain
#   CHAIN_AGENTS=200 CHAIN_RATE=20 CHAIN_BACKLOG=30 CHAIN_TRACE=target/chain.csv \
#       CHAIN_SVG=packaging/doc/chain-real.svg tests/recipes/engines.sh AGENT chain
#
# All of it is in a network and a mount namespace of its own, and is gone with the last process in it.

CHAIN_AGENTS=${CHAIN_AGENTS:-20}
CHAIN_BACKLOG=${CHAIN_BACKLOG:-5}
CHAIN_RATE=${CHAIN_RATE:-10}
CHAIN_OUTAGE=${CHAIN_OUTAGE:-3600}
# The head office on the bridge; the stores have the addresses behind it (198.18.0.0/15 is for tests of networks).
CHAIN_OFFICE=198.18.0.1

stores() { # stores TEXT: a line for each store, in which @ is its name
    local n
    for n in $(seq -f %03g "$CHAIN_AGENTS"); do echo "${1//@/till-$n}"; done
}

lay_lines() {
    local n=0 store
    mkdir -p /run/netns
    mount -t tmpfs lines /run/netns
    {
        echo link set lo up
        echo link add chain type bridge
        # Without IPv6 addresses, which would appear seconds later and look like a change to the agents.
        echo link set chain addrgenmode none
        echo address add "$CHAIN_OFFICE/16" dev chain
        echo link set chain up
        stores 'netns add @'
        stores 'link add @ type veth peer name line netns @'
        stores 'link set @ addrgenmode none'
        stores 'link set @ master chain up'
    } | ip -batch -
    for store in $(stores @); do
        n=$((n + 1))
        ip -netns "$store" -batch - <<IP
link set line addrgenmode none
address add 198.18.$((n / 250 + 1)).$((n % 250 + 1))/16 dev line
link set lo up
link set line up
IP
    done
}

lines() { # lines up|down: at the head office's end, of all stores at once
    stores "link set @ $1" | ip -batch -
}

fleet_in_stores() { # fleet_in_stores COMMAND…: which starts each agent in its store
    start_fleet "$CHAIN_AGENTS" nsenter --net=/run/netns/@TERMINAL@ "$@"
}

part_chain() {
    if [ -z "${CHAIN_INSIDE:-}" ]; then
        [ "$(id -u)" = 0 ] || { echo "part chain needs root, for network namespaces" >&2; return 1; }
        CHAIN_INSIDE=1 ENGINES_INSTALLED=1 unshare --net --mount "$0" "$AGENT" chain
        exit
    fi
    local n said faketime backlog=$((CHAIN_AGENTS * CHAIN_BACKLOG)) all=$((CHAIN_AGENTS * (CHAIN_BACKLOG + 1)))
    local patience=$((600 + 3 * backlog / CHAIN_RATE))
    faketime=$(compgen -G '/usr/lib/*/faketime/libfaketime.so.1')
    export SERVE_FOR=$((600 + 2 * patience))
    lay_lines
    read -r FRONT PGPORT BACK1 BACK2 BACK3 <<<"$(free_ports 5)"
    make_postgres
    for n in "$BACK1" "$BACK2" "$BACK3"; do
        serve "back-$n.log" /usr/bin/python3 "$RECIPES/receiver/receiver_postgres.py" "$n" "$DSN"
        wait_port "$n"
    done
    FRONT_ADDRESS=0.0.0.0 RATE=$CHAIN_RATE BURST=$(((CHAIN_RATE + 1) / 2)) nginx_before_receivers
    fleet_configuration nginx "s|https://hq.example|http://$CHAIN_OFFICE:$FRONT|" 's|max_pause = "1s"|max_pause = "60s"|' \
        's|^url = |insecure = true\n&|'
    fleet_in_stores
    fleet record "$WORK/fleet" "$CHAIN_AGENTS" 1 1
    said=$(fleet wait "$WORK/fleet" "$CHAIN_AGENTS" "$patience" 0 2>&1) || true
    same "chain, before the outage: all agents deliver" 0 "$said"

    lines down
    fleet record "$WORK/fleet" "$CHAIN_AGENTS" "$CHAIN_BACKLOG" "$CHAIN_BACKLOG" 1
    said=$(fleet wait "$WORK/fleet" "$CHAIN_AGENTS" 60 "$backlog" 2>&1) || true
    same "chain, the lines are cut: all is kept" "$backlog" "$said"
    finish "$FLEET"
    fleet_in_stores env "LD_PRELOAD=$faketime" "FAKETIME=+${CHAIN_OUTAGE}s"
    said=$(fleet offline "$WORK/fleet" "$CHAIN_AGENTS" "$patience" "$CHAIN_OUTAGE" 2>&1) || true
    same "chain, $CHAIN_OUTAGE s later: all agents have been offline since" "$CHAIN_AGENTS" "$said"

    date +%s.%N >"$WORK/back"
    lines up
    said=$(fleet wait "$WORK/fleet" "$CHAIN_AGENTS" "$patience" 0 2>&1) || true
    same "chain, the lines are back: all delivered by all agents, none critical" 0 "$said"
    finish "$FLEET"
    said=$(fleet attempts "$WORK/fleet" "$CHAIN_AGENTS")
    echo "attempts: $said"
    same "chain: no attempt was counted" 0 "$(field counted <<<"$said")"
    same "chain: each once" "$all" "$(receiver_postgres_table | wc -l)"
    # (On a machine that serves less than its nginx lets pass, the goodput says that, and not what the agents do.)
    said=$(timeout 60 python3 "$HERE/chain_figures.py" "$WORK/nginx/access.log" "$WORK/back" "$CHAIN_RATE" \
        ${CHAIN_TRACE:+"$CHAIN_TRACE"} ${CHAIN_SVG:+"$CHAIN_SVG"})
    echo "$said" | grep -v '^within'
    verdict "$(grep -q '^within' <<<"$said"; echo $?)" "chain: what was offered is within twice the capacity on average" "$said"
    finish "$POSTGRES"
}
