#!/usr/bin/env bash
# The suite tests itself: each patch here puts one bug into a copy of the sources, and the tests
# that its first line names must fail on it. tests/mutants/run.sh [PATCH…] runs all, or those named.
#
# A bug that survives is an error; so is a patch that no longer applies, and a copy that does not
# compile or passes none of its tests: a check that fails for another reason proves nothing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
copy=$root/target/mutants/copy
built=${CARGO_TARGET_DIR:-$root/target}/debug
export CARGO_TARGET_DIR=$root/target/mutants/target

mkdir -p "$copy"
# Reuses the dependencies of the normal tests; as links, because they are large.
if [ -d "$built/deps" ] && [ ! -d "$CARGO_TARGET_DIR" ]; then
    mkdir -p "$CARGO_TARGET_DIR/debug"
    cp -al "$built/deps" "$built/build" "$built/.fingerprint" "$CARGO_TARGET_DIR/debug/"
fi
# Keeps the modification times, so that cargo builds only what differs; changes of an earlier run are undone.
(cd "$root" && git ls-files -coz --exclude-standard | tar --null -T - -cf -) | tar -xf - -C "$copy"
touch "$copy/src/lib.rs"

cd "$copy"
patches=("$@")
[ ${#patches[@]} -gt 0 ] || patches=("$here"/*.patch)
survivors=0
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    read -r -a tests <<<"$(sed -n '1s/^caught by: cargo test //p' "$patch")"
    [ ${#tests[@]} -gt 0 ] || { echo "$name names no tests in its first line" >&2; exit 1; }
    patch --silent --forward --fuzz=0 -p1 <"$patch" >/dev/null || { echo "$name does not apply any more" >&2; exit 1; }
    log=$root/target/mutants/$name.log
    begun=$SECONDS
    if cargo test --locked --offline "${tests[@]}" >"$log" 2>&1; then
        echo "SURVIVED $name (cargo test ${tests[*]}): $log"
        survivors=$((survivors + 1))
    elif grep -q '^test result: FAILED' "$log"; then
        echo "caught   $name, $((SECONDS - begun)) s: $(grep -m1 -oE '^test .* FAILED' "$log" | cut -d' ' -f2)"
    else
        echo "$name was not tested; the last words of $log:" >&2
        tail -n 20 "$log" >&2
        exit 1
    fi
    patch --silent --reverse -p1 <"$patch" >/dev/null
done
[ "$survivors" = 0 ] || { echo "$survivors bugs survived" >&2; exit 1; }
