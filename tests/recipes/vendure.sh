# Vendure on PostgreSQL (part vendure of engines.sh): GraphQL with a session, and sales by the recipe's plugin. It is
# installed, set up and started by the commands of the recipe's page.

serve_vendure() {
    serve vendure.log env -C "$HOME_OF_PAGES/vendure-trial" HOME="$HOME_OF_PAGES" \
        bash -c "$(page_server vendure 1 "s|PGUSER=shop|PGUSER=till PGPORT=$PGPORT|" "s|SHOP_PORT=3000|SHOP_PORT=$SHOP_PORT|")"
    VENDURE=${PIDS[-1]}
    wait_port "$SHOP_PORT" 1200 || { tail -n 20 "$WORK/vendure.log"; return 1; }
}

vendure_setup() { # vendure_setup PASSWORD
    follow vendure 2 "s|SHOP_PORT=3000|SHOP_PORT=$SHOP_PORT|" "s|echo a-tills-password|echo $1|"
}

vendure_login() { # vendure_login PASSWORD: for the agent
    local file=$HOME_OF_PAGES/vendure-trial/vendure-login.json
    printf '{"query":"mutation { login(username: \\"till@shop.example\\", password: \\"%s\\") { __typename } }"}' "$1" >"$file"
    chmod 600 "$file"
}

vendure_customer() { printf '{"firstName":"Ann","lastName":"%s","emailAddress":"%s@customer.example"}' "$1" "$1"; }

vendure_product() { printf '{"translations":[{"languageCode":"en","name":"%s","slug":"%s","description":""}]}' "$1" "$1"; }

vendure_sale() { printf '{"lines":[{"sku":"TEA","quantity":%s}]}' "$1"; }

part_vendure() {
    local name=Vendure n id
    [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || { echo "Vendure needs Node.js 20 or newer" >&2; return 1; }
    rows_in_postgres shop
    read -r SHOP_PORT LOSING <<<"$(free_ports 2)"
    follow vendure 1 '/^export\|^node/d'
    serve_vendure
    vendure_setup password-1
    vendure_login password-1
    finish "$VENDURE"

    recipe vendure "s|https://shop.example|http://127.0.0.1:$LOSING|" "s|/etc/resyncd|$HOME_OF_PAGES/vendure-trial|"
    start_agent
    for n in 1 2 3; do
        failure CUSTOMER "c-$n" CREATE "$(vendure_customer "c-$n")"
        failure PRODUCT "p-$n" CREATE "$(vendure_product "p-$n")"
        failure SALE "s-$n" CREATE "$(vendure_sale 1)"
        failure SALE "s-$n" UPDATE "$(vendure_sale 2)"
        failure SALE "s-$n" UPDATE "$(vendure_sale 3)"
    done | record_all
    failure SALE s-3 DELETE null | record_all
    away "$name" 16
    comes_back "$name" "$SHOP_PORT" serve_vendure
    same "$name: each is there once" "3 3" \
        "$(rows "SELECT (SELECT count(*) FROM customer), (SELECT count(*) FROM product WHERE \"customFieldsResyncdkey\" IS NOT NULL)")"
    same "$name: sales hold the last change, one is deleted" "s-1 3;s-2 3" \
        "$(rows "SELECT o.code, sum(l.quantity) FROM \"order\" o JOIN order_line l ON l.\"orderId\" = o.id GROUP BY o.code ORDER BY o.code" | one_line)"

    # Changes of customers and products by Vendure's ids.
    {
        for id in $(rows "SELECT id FROM customer ORDER BY id"); do
            for n in 1 2 3; do failure CUSTOMER "$id" UPDATE "{\"firstName\":\"Name $n\"}"; done
        done
        failure CUSTOMER "$id" DELETE null
        failure CUSTOMER "$id" DELETE null
        for id in $(rows "SELECT id FROM product WHERE \"customFieldsResyncdkey\" IS NOT NULL ORDER BY id"); do
            failure PRODUCT "$id" UPDATE '{"enabled":false}'
        done
        failure PRODUCT "$id" DELETE null
        failure PRODUCT "$id" DELETE null
    } | record_all
    delivered "$name: changes and deletions are delivered"
    same "$name: they hold the last change, and one of each is deleted" "Name 3 f;Name 3 f;Name 3 t;f f;f f;f t" \
        "$(rows "(SELECT \"firstName\", \"deletedAt\" IS NOT NULL FROM customer ORDER BY id) UNION ALL
            (SELECT CAST(enabled AS char(1)), \"deletedAt\" IS NOT NULL FROM product WHERE \"customFieldsResyncdkey\" IS NOT NULL ORDER BY id)" | one_line)"

    dies_at_work "$name" "$VENDURE" serve_vendure < <(for n in 4 5 6; do
        failure CUSTOMER "c-$n" CREATE "$(vendure_customer "c-$n")"
        failure SALE "s-$n" CREATE "$(vendure_sale 1)"
    done)
    same "$name, killed while it works: each once" "6 5" "$(rows "SELECT (SELECT count(*) FROM customer), (SELECT count(*) FROM \"order\")")"

    { failure CUSTOMER c-7 CREATE "$(vendure_customer c-4)"; failure SALE s-7 CREATE '{"lines":[{"sku":"NO","quantity":1}]}'
      failure SALE s-8 CREATE "$(vendure_sale 1)"; } | record_all
    becomes "$name: two are refused with the shop's words, the other delivered" 180 \
        "len(f) == 2 and h['critical'] == 2 and any('email address is not available' in one['error'] for one in f) and any('SKU NO' in one['error'] for one in f)"
    same "$name: nothing of them stays" "6 6" "$(rows "SELECT (SELECT count(*) FROM customer), (SELECT count(*) FROM \"order\")")"
    discards "they are wrong"

    rows "DELETE FROM session" >/dev/null
    # Vendure keeps sessions in memory too.
    finish "$VENDURE"
    serve_vendure
    failure SALE s-9 CREATE "$(vendure_sale 1)" | record_all
    delivered "$name: a session that ended is renewed"
    vendure_setup password-2
    rows "DELETE FROM session" >/dev/null
    finish "$VENDURE"
    serve_vendure
    rejects_login "$name" "the password has changed" vendure_login password-2 < <(
        failure SALE s-10 CREATE "$(vendure_sale 1)"
        failure CUSTOMER c-10 CREATE "$(vendure_customer c-10)")
    vendure_without_its_database
    stop_agent
    finish "$LINE"
    follow vendure 2 "s|SHOP_PORT=3000|SHOP_PORT=$SHOP_PORT|"
    page_delivers vendure 3 "s|127.0.0.1:3000|127.0.0.1:$SHOP_PORT|"
    finish "$VENDURE"
    finish "$POSTGRES"
}

vendure_without_its_database() {
    local name="Vendure, PostgreSQL is down" n
    kill9 "$POSTGRES"
    for n in 11 12 13; do failure SALE "s-$n" CREATE "$(vendure_sale 1)"; done | record_all
    # The agent asks first, and an error is not taken for "not there".
    becomes "$name: the upstream slows down, nothing is counted" 120 "len(f) == 3 and counted == 0 and u['state'] in ('waiting', 'failing')"
    serve_postgres
    delivered "$name and returns: all delivered"
    same "$name: each once" 3 "$(rows "SELECT count(*) FROM \"order\" WHERE code IN ('s-11', 's-12', 's-13')")"
}
