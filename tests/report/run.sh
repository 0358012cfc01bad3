#!/bin/sh
# Opens the report of a simulated month, including hostile input, in a browser, and checks it with a
# validator. Fails when the page runs a script, loads anything, writes to the console, or is not valid
# HTML. Screenshots in light, dark and at 400 px are kept in the directory that is named, if one is.
#
# usage: tests/report/run.sh [DIRECTORY]
# needs: cargo, npm, chromium (apt-get install -y --no-install-recommends chromium nodejs npm)
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
kept=${1:-$work}
mkdir -p "$kept"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

RESYNCD_MONTH=$work cargo test --quiet --locked --test report write_the_month -- --ignored --exact >"$work/month.log" 2>&1 ||
    { cat "$work/month.log"; fail "the month was not written"; }

# --- valid HTML
(cd "$work" && npm install --silent --no-audit --no-fund --no-save html-validate@9 >npm.log 2>&1) ||
    { cat "$work/npm.log"; fail "the validator was not installed"; }
cat >"$work/.htmlvalidate.json" <<'JSON'
{ "root": true, "extends": ["html-validate:standard", "html-validate:a11y"],
  "rules": { "no-inline-style": "error", "long-title": "off", "no-trailing-whitespace": "off" } }
JSON
for page in report payloads; do
    (cd "$work" && node node_modules/.bin/html-validate "$page.html") || fail "$page.html is not valid"
done
sed 's|</h1>|</h2>|' "$work/report.html" >"$work/wrong.html"
if (cd "$work" && node node_modules/.bin/html-validate wrong.html >/dev/null 2>&1); then
    fail "the validator finds nothing wrong with a wrong page"
fi

# --- in a browser: browse PAGE OPTION...
browse() {
    page=$1
    shift
    rm -rf "$work/profile"
    timeout 300 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars \
        --host-resolver-rules='MAP * ~NOTFOUND' --user-data-dir="$work/profile" --enable-logging=stderr --log-net-log="$work/net.json" "$@" \
        "file://$work/$page" 2>"$work/browser.log"
}

# Prints what a page did that it must not do, and nothing if it did nothing. The browser itself
# resolves its vendor's host, without success.
misdeeds() {
    grep -a 'CONSOLE' "$work/browser.log" || true
    grep -aoE '"url":"(https?|ftp|wss?|data):[^"]{0,80}' "$work/net.json" |
        grep -avE '"url":"https?://[a-z0-9.]+\.(google|googleapis|gvt1)\.com/' | sort -u || true
    grep -aoE '<title>[^<]*' "$work/dom.html" | grep -v '^<title>resyncd on till-07' | grep -v '<title>Backlog\|<title>Delivered\|<title>Time' || true
}

for page in report payloads; do
    browse "$page.html" --dump-dom >"$work/dom.html" || { cat "$work/browser.log"; fail "$page.html was not opened"; }
    grep -q '<h2>Versions</h2>' "$work/dom.html" || fail "$page.html was not read to its end"
    found=$(misdeeds)
    [ -z "$found" ] || fail "$page.html: $found"
done
# The same check finds what a page without escaping would do.
sed "s|</main>|<script>document.title='hit'</script><img src=\"http://127.0.0.1:9/x\" alt=\"\"></main>|; s|default-src 'none'|default-src * 'unsafe-inline'|" \
    "$work/report.html" >"$work/hostile.html"
browse hostile.html --dump-dom >"$work/dom.html" || fail "hostile.html was not opened"
[ "$(misdeeds | wc -l)" -ge 2 ] || fail "a page that runs a script and asks for a picture was not found out: $(misdeeds)"
# … and the page's own policy would have blocked it.
sed "s|</main>|<script>document.title='hit'</script></main>|" "$work/report.html" >"$work/forbidden.html"
browse forbidden.html --dump-dom >"$work/dom.html" || fail "forbidden.html was not opened"
grep -q '<title>resyncd on till-07' "$work/dom.html" || fail "the page's policy lets a script run"

for shot in light:1100,5600:1 dark:1100,5600:0 narrow:400,9000:1; do
    name=${shot%%:*} rest=${shot#*:}
    browse report.html --blink-settings=preferredColorScheme="${rest#*:}" --window-size="${rest%:*}" \
        --screenshot="$kept/$name.png" || fail "no screenshot $name"
    [ -s "$kept/$name.png" ] || fail "no screenshot $name"
done
size=$(wc -c <"$work/report.html")
[ "$size" -le 307200 ] || fail "$size bytes"
echo "report: $size bytes, valid, silent, asks for nothing; with payloads $(wc -c <"$work/payloads.html") bytes"
