#!/usr/bin/env bash
# Fuzzes every target, or those named: tests/fuzz/run.sh [SECONDS] [TARGET…]. A minute each by
# default. Failing inputs, and the corpus that grows from seeds/, are kept in target/fuzz.
set -euo pipefail
cd "$(dirname "$0")"
out=$(cd ../.. && pwd)/target/fuzz

seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(line import answer retry_after configuration)

command -v cargo-fuzz >/dev/null 2>&1 || { echo "missing: cargo-fuzz (cargo install cargo-fuzz --locked)" >&2; exit 1; }

# Allows unstable flags with the stable compiler. No sanitizer: the product has no unsafe code, and
# the assertions are in the targets.
export RUSTC_BOOTSTRAP=1
for target in "${targets[@]}"; do
    printf '== fuzz %s, %s s\n' "$target" "$seconds"
    mkdir -p "$out/corpus/$target" "$out/artifacts/$target"
    cargo fuzz run --fuzz-dir . --target-dir "$out" --sanitizer none "$target" "$out/corpus/$target" "seeds/$target" -- \
        -artifact_prefix="$out/artifacts/$target/" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -verbosity=0 -print_new=0
done
