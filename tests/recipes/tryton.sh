# Tryton (parts tryton, on SQLite, and tryton_postgres of engines.sh), by JSON-RPC with a session and by the key of a
# user application. It is installed, set up and started by the commands of the recipe's page.

# ---- the system -----------------------------------------------------------------------------------

TRIAL=$HOME_OF_PAGES/tryton-trial

fetch_tryton() { # fetch_tryton [SED]: at $TRYTON instead of port 8000
    follow tryton 1 '$d' 's|path = %s\\n|&[web]\\nlisten = 127.0.0.1:'"$TRYTON"'\\n|' "$@"
    tryton_ids
}

tryton_setup() { # tryton_setup PASSWORD: sets it, makes a new key
    echo "$1" >"$TRIAL/till.pw"
    follow tryton 1 '/setup\.py/!d'
    tryton_ids
}

tryton_ids() { grep '^company ' "$WORK/page.log" >"$WORK/ids"; }

serve_tryton() {
    serve tryton.log env HOME="$HOME_OF_PAGES" bash -c "$(page_server tryton 1)"
    TRYTOND=${PIDS[-1]}
    wait_port "$TRYTON" 600
}

tryton_recipe() { # tryton_recipe FILE PORT SED…: which names the file of the secret of the page
    recipe "tryton/$1" "s|https://tryton.example|http://127.0.0.1:$2|" "s|/etc/resyncd|$TRIAL|" "${@:3}"
}

# ---- the story ------------------------------------------------------------------------------------

tryton_sale() { # tryton_sale [CUSTOMER]: a sale of the product of setup.py, to its customer or this one
    local product customer unit
    read -r unit product customer < <(sed 's/.*unit \([0-9]*\), product \([0-9]*\), customer \([0-9]*\)/\1 \2 \3/' "$WORK/ids")
    printf '{"party":%s,"lines":[["create",[{"product":%s,"unit":%s,"quantity":2,"unit_price":{"__class__":"Decimal","decimal":"4.50"}}]]]}' \
        "${1:-$customer}" "$product" "$unit"
}

tryton_login() { # tryton_login PASSWORD: for the agent
    printf '{"id":0,"method":"common.db.login","params":["till",{"password":"%s"}]}' "$1" >"$TRIAL/tryton-login.json"
    chmod 600 "$TRIAL/tryton-login.json"
}

tryton_by_session() { # tryton_by_session NAME
    local name="$1, session" n id
    tryton_login a-tills-password-1
    tryton_recipe resyncd "$LOSING"
    start_agent
    for n in 1 2 3; do
        failure CUSTOMER "c-$n" CREATE "{\"name\":\"Customer $n\"}"
        failure SALE "s-$n" CREATE "$(tryton_sale)"
    done | record_all
    away "$name" 6
    comes_back "$name" "$TRYTON" serve_tryton
    same "$name: each customer is there once" "c-1 1;c-2 1;c-3 1" \
        "$(rows "SELECT code, count(*) FROM party_party WHERE code LIKE 'c-%' GROUP BY code ORDER BY code" | one_line)"
    same "$name: each sale is there once, with its lines" "3 3 6" \
        "$(rows "SELECT count(DISTINCT s.id), count(DISTINCT s.reference), CAST(sum(l.quantity) AS INTEGER) FROM sale_sale s JOIN sale_line l ON l.sale = s.id")"

    # Changes by Tryton's ids: the last one is what stays, and the deletion comes after it.
    {
        for id in $(rows "SELECT id FROM party_party WHERE code LIKE 'c-%' ORDER BY code"); do
            for n in 1 2 3; do failure CUSTOMER "$id" UPDATE "{\"name\":\"Name $n\"}"; done
        done
        failure CUSTOMER "$id" DELETE null
        for id in $(rows "SELECT id FROM sale_sale ORDER BY id"); do
            for n in 1 2 3; do failure SALE "$id" UPDATE "{\"description\":\"step $n\"}"; done
        done
        failure SALE "$id" DELETE null
        failure SALE "$id" DELETE null
    } | record_all
    delivered "$name: changes and deletions are delivered"
    same "$name: customers hold the last change, one is deleted" "c-1 Name 3;c-2 Name 3" \
        "$(rows "SELECT code, name FROM party_party WHERE code LIKE 'c-%' ORDER BY code" | one_line)"
    same "$name: sales hold the last change, one is cancelled" "draft step 3;draft step 3;cancelled step 3" \
        "$(rows "SELECT state, description FROM sale_sale ORDER BY id" | one_line)"

    dies_at_work "$name" "$TRYTOND" serve_tryton < <(for n in 4 5 6; do
        failure CUSTOMER "c-$n" CREATE "{\"name\":\"Customer $n\"}"
        failure SALE "s-$n" CREATE "$(tryton_sale)"
    done)
    same "$name, killed while it works: each once" "5 6 6" \
        "$(rows "SELECT (SELECT count(*) FROM party_party WHERE code LIKE 'c-%'), (SELECT count(*) FROM sale_sale), (SELECT count(DISTINCT reference) FROM sale_sale)")"

    { failure CUSTOMER c-7 CREATE '{"name":"Eva","identifiers":[["create",[{"type":"eu_vat","code":"ES123"}]]]}'
      failure CUSTOMER c-8 CREATE '{"name":"Leo"}'; } | record_all
    becomes "$name: one is refused with Tryton's words, the other delivered" 180 \
        "len(f) == 1 and f[0]['entity_id'] == 'c-7' and f[0]['status'] == 'critical' and 'VAT Number' in f[0]['error']"
    discards "its number is wrong"

    rows "DELETE FROM ir_session" >/dev/null
    failure CUSTOMER c-9 CREATE '{"name":"Ida"}' | record_all
    delivered "$name: a session that ended is renewed"
    tryton_setup a-tills-password-2
    rows "DELETE FROM ir_session" >/dev/null
    rejects_login "$name" "the password has changed" tryton_login a-tills-password-2 < <(
        failure CUSTOMER c-10 CREATE '{"name":"Kim"}'
        failure SALE s-10 CREATE "$(tryton_sale)")
    stop_agent
    finish "$LINE"
}

tryton_by_application() { # tryton_by_application NAME
    local name="$1, application key" n
    tryton_recipe application "$LOSING"
    start_agent
    for n in 1 2 3; do
        failure CUSTOMER "a-$n" CREATE "{\"name\":\"Customer $n\"}"
        failure SALE "b-$n" CREATE "$(tryton_sale "\"CUSTOMER:a-$n\"")"
        failure CUSTOMER "a-$n" UPDATE '{"name":"Name 1"}'
        failure CUSTOMER "a-$n" UPDATE '{"name":"Name 2"}'
        failure SALE "b-$n" UPDATE '{"description":"step 1"}'
        failure SALE "b-$n" DELETE null
    done | record_all
    failure CUSTOMER a-4 CREATE '{"name":"Customer 4"}' | record_all
    failure CUSTOMER a-4 DELETE null | record_all
    away "$name" 20
    comes_back "$name" "$TRYTON" serve_tryton
    same "$name: every entity's requests came once and in order" "$(printf '%s' \
        'a-1 CREATE,UPDATE,UPDATE;a-2 CREATE,UPDATE,UPDATE;a-3 CREATE,UPDATE,UPDATE;a-4 CREATE,DELETE;' \
        'b-1 CREATE,UPDATE,DELETE;b-2 CREATE,UPDATE,DELETE;b-3 CREATE,UPDATE,DELETE')" "$(tryton_received | one_line)"
    same "$name: customers hold the last change, and their sales" "Name 2 cancelled;Name 2 cancelled;Name 2 cancelled" \
        "$(rows "SELECT p.name, s.state FROM sale_sale s JOIN party_party p ON p.id = s.party JOIN resyncd_received r ON r.record = p.id AND r.entity_type = 'CUSTOMER' AND r.action = 'CREATE'" | one_line)"

    dies_at_work "$name" "$TRYTOND" serve_tryton < <(for n in 5 6 7; do
        failure CUSTOMER "a-$n" CREATE "{\"name\":\"Customer $n\"}"
        failure CUSTOMER "a-$n" UPDATE '{"name":"Killed 1"}'
        failure SALE "b-$n" CREATE "$(tryton_sale)"
    done)
    same "$name, killed while it works: each once and in order" "3 9 3" \
        "$(rows "SELECT (SELECT count(*) FROM party_party WHERE name = 'Killed 1'), (SELECT count(*) FROM resyncd_received WHERE entity_id IN ('a-5', 'a-6', 'a-7', 'b-5', 'b-6', 'b-7')), (SELECT count(*) FROM sale_sale WHERE state = 'draft' AND id IN (SELECT record FROM resyncd_received WHERE entity_type = 'SALE'))")"

    { failure CUSTOMER a-8 CREATE '{"name":"Eva","identifiers":[["create",[{"type":"eu_vat","code":"ES123"}]]]}'
      failure CUSTOMER a-8 UPDATE '{"name":"Eva B"}'
      failure CUSTOMER a-9 CREATE '{"name":"Leo"}'; } | record_all
    becomes "$name: one is refused with Tryton's words and holds back its own only" 120 \
        "len(f) == 2 and f[0]['status'] == 'critical' and 'VAT Number' in f[0]['error'] and f[1]['state'] == 'blocked'"
    same "$name: nothing of it stays" 0 "$(rows "SELECT count(*) FROM resyncd_received WHERE entity_id = 'a-8'")"
    discards "its number is wrong"

    rows "UPDATE res_user_application SET state = 'cancelled'" >/dev/null
    rejects_login "$name" "the key was cancelled" tryton_setup a-tills-password-1 < <(
        failure CUSTOMER a-10 CREATE '{"name":"Kim"}'
        failure SALE b-10 CREATE "$(tryton_sale)")
    tryton_at_once "$name"
    stop_agent
    finish "$LINE"
}

tryton_received() { # each entity with its actions as they came
    rows "SELECT entity_id, action FROM resyncd_received ORDER BY id" | timeout 60 python3 -c '
import collections, sys
came = collections.defaultdict(list)
for line in sys.stdin:
    entity, action = line.split()
    came[entity].append(action)
for entity, actions in sorted(came.items()): print(entity, ",".join(actions))'
}

tryton_at_once() { # tryton_at_once NAME
    local said
    said=$(at_once "http://127.0.0.1:$TRYTON/chain/resyncd/CUSTOMER/a-11/CREATE" '{"name":"Eight"}' "Authorization: Bearer $(cat "$TRIAL/tryton.key")")
    verdict "$(grep -qE '^(200 )?201( 500)?( 503)?$' <<<"$said"; echo $?)" "$1: one key eight times at once" "$said"
    same "$1: one key eight times at once, once in effect" "a-11 1" \
        "$(rows "SELECT r.entity_id, count(*) FROM resyncd_received r JOIN party_party p ON p.id = r.record WHERE p.name = 'Eight' GROUP BY r.entity_id")"
}

tryton_story() { # tryton_story NAME [SED]
    read -r TRYTON LOSING <<<"$(free_ports 2)"
    fetch_tryton "${@:2}"
    tryton_by_session "$1"
    finish "$TRYTOND"
    tryton_by_application "$1"
    page_delivers tryton 2 "s|localhost:8000|127.0.0.1:$TRYTON|"
    page_delivers tryton 3 "s|localhost:8000|127.0.0.1:$TRYTON|"
}

part_tryton() {
    ROWS_FILE=$TRIAL/chain.sqlite
    tryton_story "Tryton on SQLite"
    finish "$TRYTOND"
}

part_tryton_postgres() {
    rows_in_postgres chain
    tryton_story "Tryton on PostgreSQL" "s|uri = sqlite://|uri = postgresql://till@127.0.0.1:$PGPORT/|"
    tryton_without_its_database
    finish "$TRYTOND"
    finish "$POSTGRES"
}

# While its database is down, Tryton answers only after a minute.
tryton_without_its_database() {
    local name="Tryton, PostgreSQL is down" n
    tryton_recipe application "$TRYTON" 's|^expect = |timeout = "5s"\n&|'
    kill9 "$POSTGRES"
    start_agent
    for n in 1 2 3; do failure CUSTOMER "d-$n" CREATE '{"name":"Down"}'; done | record_all
    becomes "$name: requests time out, and nothing is counted" 120 "len(f) == 3 and counted == 0 and u['state'] in ('waiting', 'failing')"
    serve_postgres
    delivered "$name and returns: all delivered"
    same "$name: each once" 3 "$(rows "SELECT count(*) FROM party_party WHERE name = 'Down'")"
    stop_agent
}
