#!/usr/bin/env bash
# The benchmark: the release agent beside redis and beanstalkd, in one run.
#
#   tests/bench/run.sh [--quick] [GROUP…]     without a group: all of them
#
# --quick only shows that it works and that commits are shared; nothing of it is quoted.
# packaging/doc/performance.md explains each cell. BENCH_OUT (target/bench) gets table.md, figures.json
# and plot.svg; BENCH_DIR (/var/tmp) holds the databases; BENCH_PATIENCE (30) is how many seconds a
# round waits for an otherwise idle machine; BENCH_AGENT is measured instead of a new build.
# Works in a temporary directory and leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/../.."

need() { # need COMMAND PACKAGE: installs a Debian package when its command is missing
    command -v "$1" >/dev/null 2>&1 && return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "missing: $1 (Debian package $2)" >&2
        return 1
    fi
    [ -n "${APT_UPDATED:-}" ] || { timeout 300 apt-get -qq update; APT_UPDATED=1; }
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq install -y --no-install-recommends "$2" >/dev/null
    # The package's own server would use the measured cores, and must not be left running.
    if [ -d /run/systemd/system ]; then systemctl --quiet disable --now "${2%-light}" || true; fi
}

need redis-server redis-server
need beanstalkd beanstalkd
need nginx nginx-light

TARGET=${CARGO_TARGET_DIR:-target}
if [ -z "${BENCH_AGENT:-}" ]; then
    cargo build --quiet --locked --release
    export BENCH_AGENT="$TARGET/release/resyncd"
fi
built() { # built NAME: builds a program of the benchmark (and the agent with it), and prints its path
    cargo bench --quiet --locked --bench "$1" --no-run --message-format=json |
        grep -F '"kind":["bench"]' | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}
case " $* " in
    # Built together with the whole agent, it takes longer than a quick run may.
    *" --quick "*) ;;
    *) BENCH_SHAPES=$(built shapes) && export BENCH_SHAPES ;;
esac
BENCH=$(built bench)
BENCH_PACKAGES=$(cargo tree --locked --edges normal,build --prefix none | sed 's/ (\*)$//' | sort -u | wc -l)
export BENCH_PACKAGES
export BENCH_OUT="${BENCH_OUT:-$TARGET/bench}"
BENCH_AGENT=$(realpath "$BENCH_AGENT")
export BENCH_DIR="${BENCH_DIR:-/var/tmp}"

# In its own process group, so that the servers end with it when it is interrupted.
set -m
"$BENCH" "$@" &
RUNNING=$!
clean() {
    kill -TERM -- "-$RUNNING" 2>/dev/null || true
    rm -rf "$BENCH_DIR/resyncd-bench.$RUNNING"
}
trap clean EXIT
trap 'exit 130' INT TERM
wait "$RUNNING"
