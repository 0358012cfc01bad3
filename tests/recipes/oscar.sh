# django-oscar with django-oscar-api (parts oscar, on SQLite, and oscar_postgres of engines.sh): a session, CSRF, pages. It
# is installed, set up and started by the commands of the recipe's page.

fetch_oscar() {
    export PYTHONDONTWRITEBYTECODE=1
    follow django-oscar 1 '$d'
}

oscar_setup() { # oscar_setup PASSWORD
    echo "$1" >"$HOME_OF_PAGES/oscar-trial/till.pw"
    follow django-oscar 1 '/^export\|setup\.py/!d'
}

oscar_login() { # oscar_login PASSWORD: for the agent
    printf '{"username":"till@shop.example","password":"%s"}' "$1" >"$HOME_OF_PAGES/oscar-trial/oscar-login.json"
    chmod 600 "$HOME_OF_PAGES/oscar-trial/oscar-login.json"
}

serve_oscar() {
    serve oscar.log env -C "$RECIPES/django-oscar" HOME="$HOME_OF_PAGES" bash -c "$(page_server django-oscar 1 "s|:8000|:$SHOP|")"
    OSCAR=${PIDS[-1]}
    wait_port "$SHOP" 600
}

oscar_pages() { # oscar_pages PREFIX: how many products the API lists with it, and on how many pages
    timeout 60 python3 - "http://127.0.0.1:$SHOP/api" "$HOME_OF_PAGES/oscar-trial/oscar-login.json" "$1" <<'PY'
import http.cookiejar, json, sys, urllib.request
base, login, prefix = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
opener.open(urllib.request.Request(base + "/login/", open(login, "rb").read(), {"Content-Type": "application/json"}), timeout=50)
url, found, pages = base + "/admin/products/", [], 0
while url:
    page = json.load(opener.open(url, timeout=50))
    found += [one["upc"] for one in page["results"] if one["upc"].startswith(prefix)]
    url, pages = page["next"], pages + 1
assert len(set(found)) == len(found), found
print(len(found), "on", pages)
PY
}

oscar_session() { # a session's headers, one a line
    timeout 60 python3 - "http://127.0.0.1:$SHOP/api" "$HOME_OF_PAGES/oscar-trial/oscar-login.json" <<'PY'
import http.cookiejar, sys, urllib.request
base, login = sys.argv[1:]
jar = http.cookiejar.CookieJar()
opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
opener.open(urllib.request.Request(base + "/login/", open(login, "rb").read(), {"Content-Type": "application/json"}), timeout=50)
print("X-CSRFToken: " + {c.name: c.value for c in jar}["csrftoken"])
print("Cookie: " + "; ".join(f"{c.name}={c.value}" for c in jar))
PY
}

oscar_at_once() { # oscar_at_once NAME
    local said session
    mapfile -t session < <(oscar_session)
    said=$(at_once "http://127.0.0.1:$SHOP/api/resyncd/sales/" '{"number":"eight","lines":[{"upc":"TEA","quantity":1}]}' "${session[@]}")
    verdict "$(grep -qE '^201( 503)?$' <<<"$said"; echo $?)" "$1: one key eight times at once" "$said"
    same "$1: one key eight times at once, one order" 1 "$(rows "SELECT count(*) FROM order_order WHERE number = 'eight'")"
}

oscar_sale() { printf '{"lines":[{"upc":"TEA","quantity":%s}]}' "$1"; }

oscar_product() { printf '{"title":"%s","product_class":"goods"}' "$1"; }

oscar_story() { # oscar_story NAME
    local name=$1 n
    read -r SHOP LOSING <<<"$(free_ports 2)"
    fetch_oscar
    oscar_login a-tills-password
    recipe django-oscar "s|https://shop.example|http://127.0.0.1:$LOSING|" "s|/etc/resyncd|$HOME_OF_PAGES/oscar-trial|"
    start_agent
    for n in $(seq 22); do failure PRODUCT "p-$n" CREATE "$(oscar_product "Product $n")"; done | record_all
    for n in 1 2 3; do
        failure PRODUCT "p-$n" UPDATE '{"title":"Name 1"}'
        failure PRODUCT "p-$n" UPDATE '{"title":"Name 2"}'
        failure SALE "s-$n" CREATE "$(oscar_sale 2)"
        failure SALE "s-$n" UPDATE '{"status":"Paid"}'
        failure SALE "s-$n" UPDATE '{"status":"Cancelled"}'
    done | record_all
    { failure PRODUCT p-22 DELETE null; failure SALE s-3 DELETE null; } | record_all
    away "$name" 39
    comes_back "$name" "$SHOP" serve_oscar
    same "$name: each product is there once, on two pages" "21 on 2" "$(oscar_pages p-)"
    same "$name: products hold the last change" "Name 2 3" "$(rows "SELECT title, count(*) FROM catalogue_product WHERE title LIKE 'Name%' GROUP BY title")"
    same "$name: sales hold the last change, one is deleted" "s-1 Cancelled;s-2 Cancelled" \
        "$(rows "SELECT number, status FROM order_order ORDER BY number" | one_line)"
    same "$name: each key once" 39 "$(rows "SELECT count(*) FROM resyncd_oscar_key")"

    dies_at_work "$name" "$OSCAR" serve_oscar < <(for n in 4 5 6; do
        failure PRODUCT "q-$n" CREATE "$(oscar_product "Killed")"
        failure SALE "s-$n" CREATE "$(oscar_sale 1)"
    done)
    # What a sale takes from the stock shows whether one was made twice.
    same "$name, killed while it works: each once" "3 5 9" "$(rows "SELECT (SELECT count(*) FROM catalogue_product WHERE title = 'Killed'),
        (SELECT count(*) FROM order_order), (SELECT num_allocated FROM partner_stockrecord)")"

    { failure SALE s-7 CREATE "$(oscar_sale 5000)"; failure SALE s-8 CREATE "$(oscar_sale 1)"; } | record_all
    becomes "$name: one is refused with the shop's words, the other delivered" 180 \
        "len(f) == 1 and f[0]['entity_id'] == 's-7' and f[0]['status'] == 'critical' and 'can be bought' in f[0]['error']"
    same "$name: nothing of it stays" "0 10" "$(rows "SELECT (SELECT count(*) FROM order_order WHERE number = 's-7'), num_allocated FROM partner_stockrecord")"
    discards "there are not so many"

    rows "DELETE FROM django_session" >/dev/null
    failure SALE s-9 CREATE "$(oscar_sale 1)" | record_all
    delivered "$name: a session that ended is renewed"
    oscar_setup password-2 # which ends its sessions too
    rejects_login "$name" "the password has changed" oscar_login password-2 < <(
        failure SALE s-10 CREATE "$(oscar_sale 1)"
        failure PRODUCT p-2 DELETE null)
    oscar_at_once "$name"
    rows "DELETE FROM auth_user_user_permissions" >/dev/null
    rejects_login "$name" "a right is missing" oscar_right_returns < <(failure PRODUCT p-3 DELETE null)
    stop_agent
    finish "$LINE"
    page_delivers django-oscar 2 "s|127.0.0.1:8000|127.0.0.1:$SHOP|"
    finish "$OSCAR"
}

oscar_right_returns() { # with the password of the page
    oscar_setup a-tills-password
    oscar_login a-tills-password
    resyncd resume >/dev/null
}

part_oscar() {
    ROWS_FILE=$HOME_OF_PAGES/oscar-trial/shop.sqlite
    oscar_story "Oscar on SQLite"
}

part_oscar_postgres() {
    rows_in_postgres shop
    export SHOP_PGPORT=$PGPORT
    oscar_story "Oscar on PostgreSQL"
    finish "$POSTGRES"
}
