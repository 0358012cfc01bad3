#!/usr/bin/env bash
# The benchmark: the release agent beside redis, beanstalkd and PostgreSQL, and of scripts, in one run.
#
#   tests/bench/run.sh [--quick] [GROUP…]     without a group: all of them
#
# --quick only shows that it works and that commits are shared; nothing of it is quoted.
# packaging/doc/performance.md explains each cell. BENCH_OUT (target/bench) gets table.md, figures.json, whole_job.md
# and plot.svg; BENCH_DIR (/var/tmp) holds the databases; BENCH_PATIENCE (30) is how many seconds a
# round waits for an otherwise idle machine; BENCH_AGENT is measured, and BENCH_DRIVER measures, instead of
# a new build. Works in a temporary directory and leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/../.."

WHOLE_JOB=
CELLS=()
QUICK=()
for argument in "$@"; do
    case $argument in
        --quick) QUICK=(--quick) ;;
        whole_job) WHOLE_JOB=1 ;;
        *) CELLS+=("$argument") ;;
    esac
done

# shellcheck source=tests/bench/need.sh
source tests/bench/need.sh
need redis-server redis-server
need beanstalkd beanstalkd
need nginx nginx-light
need '/usr/lib/postgresql/*/bin/pgbench' postgresql
BENCH_POSTGRES=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/pgbench' | sort -V | tail -n 1)")
export BENCH_POSTGRES

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
    *" --quick "* | " whole_job ") ;;
    *) BENCH_SHAPES=$(built shapes) && export BENCH_SHAPES ;;
esac
BENCH=${BENCH_DRIVER:-$(built bench)}
BENCH_PACKAGES=$(cargo tree --locked --edges normal,build --prefix none | sed 's/ (\*)$//' | sort -u | wc -l)
export BENCH_PACKAGES
export BENCH_OUT="${BENCH_OUT:-$TARGET/bench}"
BENCH_AGENT=$(realpath "$BENCH_AGENT")
export BENCH_DIR="${BENCH_DIR:-/var/tmp}"

RUNNING=
clean() {
    [ -n "$RUNNING" ] || return 0
    kill -TERM -- "-$RUNNING" 2>/dev/null || true
    # PostgreSQL writes to the directory until its end.
    for _ in $(seq 100); do
        kill -0 -- "-$RUNNING" 2>/dev/null || break
        sleep 0.1
    done
    rm -rf "$BENCH_DIR/resyncd-bench.$RUNNING"
}
trap clean EXIT
trap 'exit 130' INT TERM
# Each in its own process group, so that the servers end with it when it is interrupted.
set -m
run() {
    "$@" &
    RUNNING=$!
    wait "$RUNNING"
    RUNNING=
}
if [ -z "$WHOLE_JOB" ] || [ ${#CELLS[@]} -gt 0 ]; then
    run "$BENCH" ${QUICK[@]+"${QUICK[@]}"} ${CELLS[@]+"${CELLS[@]}"}
fi
if [ -n "$WHOLE_JOB" ] || [ ${#CELLS[@]} -eq 0 ]; then
    BENCH_DRIVER=$BENCH run tests/bench/whole_job.sh "$BENCH_AGENT" ${QUICK[@]+"${QUICK[@]}"}
fi
