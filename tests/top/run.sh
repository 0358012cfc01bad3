#!/usr/bin/env bash
# The live screen in a real terminal: tmux at 80 × 24 and 200 × 60. The output is compared with the
# files in tests/top/screens, with times masked; keys are pressed, the window is resized, the agent
# stops and restarts, and the terminal must be restored after every kind of end.
#
#   tests/top/run.sh [AGENT]     AGENT: target/release/resyncd
#
# RESYNCD_KEEP_SCREENS=1 rewrites the files; then read what has changed. KEEP=1 keeps the directory.
# RESYNCD_WATCH=60 measures the cost of watching for this many seconds, in place of the short
# measurement. Only loopback. Works in a temporary directory and leaves nothing running.
set -euo pipefail

AGENT=$(realpath "${1:-$(dirname "$0")/../../target/release/resyncd}")
cd "$(dirname "$0")"
SCREENS=$PWD/screens
# A socket's path is limited to 107 bytes, so it is not below a long TMPDIR.
WORK=$(mktemp -d /tmp/resyncd-top.XXXXXX)
PIDS=()
DAEMON=
OFFICE=
PASSED=0
FAILED=0

# ---- the stage ------------------------------------------------------------------------------------

tm() { timeout 60 tmux -f /dev/null -S "$WORK/tmux" "$@"; }

clean() {
    local pid
    tm kill-server >/dev/null 2>&1 || true
    for pid in ${DAEMON:+"$DAEMON"} ${OFFICE:+"$OFFICE"} ${PIDS[@]+"${PIDS[@]}"}; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ -n "${KEEP:-}" ]; then echo "kept: $WORK" >&2; else rm -rf "$WORK"; fi
}
trap clean EXIT
trap 'exit 130' INT TERM

need() { # need COMMAND PACKAGE: installs a Debian package when its command is missing
    command -v "$1" >/dev/null 2>&1 && return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "missing: $1 (Debian package $2)" >&2
        return 1
    fi
    [ -n "${APT_UPDATED:-}" ] || { timeout 300 apt-get -qq update; APT_UPDATED=1; }
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq install -y --no-install-recommends "$2" >/dev/null
}

say() { printf '%s\n' "$*"; }

passed() {
    PASSED=$((PASSED + 1))
    say "ok $*"
}

failed() { # failed NAME EVIDENCE…
    FAILED=$((FAILED + 1))
    say "FAILED $1"
    shift
    printf '    | %s\n' "$@"
}

until_true() { # until_true COMMAND…: waits for a condition
    local end=$((SECONDS + 20))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# ---- the agent and its terminal -------------------------------------------------------------------

resyncd() { "$AGENT" --config "$WORK/resyncd.toml" "$@"; }

answers() { resyncd check >/dev/null 2>&1 || [ $? != 3 ]; }

start_agent() {
    "$AGENT" --config "$WORK/resyncd.toml" run 2>>"$WORK/agent.log" &
    DAEMON=$!
    until_true answers || { cat "$WORK/agent.log" >&2; return 1; }
}

stop_agent() {
    kill "$DAEMON"
    wait "$DAEMON" 2>/dev/null || true
    DAEMON=
}

record() { # record ACTION ENTITY SKU [MORE…]
    printf '{"sku":%s}' "$3" | resyncd record --type SALE --action "$1" --entity "$2" \
        --error "connect ETIMEDOUT" --payload-file - --now "${@:4}" >/dev/null
}

open_window() { # open_window NAME COLUMNS ROWS: a shell in a terminal
    tm new-session -d -s "$1" -x "$2" -y "$3" "env -i PATH='$PATH' HOME='$WORK' TERM=screen-256color \
        LANG=C.UTF-8 PS1='ready> ' RESYNCD_CONFIG='$WORK/resyncd.toml' bash --norc --noprofile"
    until_true shows "$1" '^ready>' || failed "a shell in $1"
}

screen() { tm capture-pane -p -t "$1"; }
# The number of blanks between columns depends on the texts, so a pattern has only one.
shows() { screen "$1" | tr -s ' ' | grep -q -e "$2"; }
keys() { tm send-keys -t "$1" "${@:2}"; }

sees() { # sees WINDOW PATTERN NAME: waits until the screen shows it
    if until_true shows "$1" "$2"; then passed "$3"; else
        mapfile -t lines < <(screen "$1")
        failed "$3: no $2" "${lines[@]}"
    fi
}

# Replaces what differs from run to run by signs; the number of blanks between columns depends on the texts.
masked() {
    sed -E \
        -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2} //g' -e 's/[0-9]{2}:[0-9]{2}:[0-9]{2}/hh:mm:ss/g' \
        -e 's/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/ID/g' \
        -e 's/\b[0-9]+ (ms|s|min|h)\b/N \1/g' -e 's/\b[0-9]+\.[0-9]\b/N.N/g' -e 's/N (s|min)\b/N min/g' -e 's/as it was N min ago//' \
        -e 's/ago +(in [0-9]+:[0-9]{2}|-) /ago  in m:ss /' -e 's/[▁▂▃▄▅▆▇█]+/BARS/' \
        -e 's/ (HTTP|connect) [^…]*…$/ \1 …/' -e 's/: [0-9] failures? needs?/: N failures need/' \
        -e 's/(retry|hold|release) by [a-z]+/\1 by NAME/g' -e 's/127\.0\.0\.1:[0-9]+/HOST:PORT/g' \
        -e 's/  +/  /g' -e 's/ +$//'
}

same() { # same WINDOW FILE: the whole screen equals the file
    local found=$WORK/$2.txt
    # A second may pass between two updates: the screen gets time to become equal.
    alike() { screen "$WINDOW" | masked >"$found" && cmp -s "$found" "$SCREENS/$FILE.txt"; }
    local WINDOW=$1 FILE=$2
    if [ -n "${RESYNCD_KEEP_SCREENS:-}" ]; then
        mkdir -p "$SCREENS"
        sleep 6 # Only here, for data that is queried every five seconds.
        screen "$1" | masked >"$SCREENS/$2.txt"
    fi
    if until_true alike; then passed "screen $2"; else
        mapfile -t lines < <(diff "$SCREENS/$2.txt" "$found" || true)
        failed "screen $2" "${lines[@]}"
    fi
}

watch() { # watch WINDOW: starts top, and stores the terminal's settings
    tm send-keys -t "$1" "clear; stty -a > $WORK/before; echo said before; '$AGENT' top; echo ended \$?; stty -a > $WORK/after" Enter
    sees "$1" 'q quit' "top in $1"
}

left() { # left WINDOW STATUS NAME: top has ended, and the terminal is restored
    sees "$1" "^ended $2$" "$3: exit status $2"
    sees "$1" '^said before$' "$3: what was on the screen is there again"
    # shellcheck disable=SC2016
    until_true test -s "$WORK/after" || true
    if cmp -s "$WORK/before" "$WORK/after"; then passed "$3: the terminal's settings"; else
        mapfile -t lines < <(diff "$WORK/before" "$WORK/after" || true)
        failed "$3: the terminal's settings" "${lines[@]}"
    fi
    [ "$(tm display-message -p -t "$1" '#{cursor_flag}#{alternate_on}')" = 10 ] || failed "$3: cursor or screen"
    rm -f "$WORK/after"
}

top_of() { # top_of WINDOW: the process number of the top that runs there
    pgrep -P "$(tm display-message -p -t "$1" '#{pane_pid}')" -f ' top$'
}

open_office() {
    python3 upstream.py "$WORK/port" &
    OFFICE=$!
    until_true test -s "$WORK/port"
    until_true office_is open
}

close_office() {
    kill "$OFFICE"
    wait "$OFFICE" 2>/dev/null || true
    OFFICE=
}

office_is() { # office_is open
    (exec 3<>"/dev/tcp/127.0.0.1/$(cat "$WORK/port")") 2>/dev/null
}

counts() { # counts STATUS N: N failures have this status
    [ "$(resyncd --json status | python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])")" = "$2" ]
}

line_is() { resyncd --json status | grep -q "\"state\":\"$1\""; }

# ---- the checks -----------------------------------------------------------------------------------

need tmux tmux
need python3 python3
open_office
cat >"$WORK/resyncd.toml" <<EOF
[agent]
terminal_id = "till-07"
store_id = "0042"
state_dir = "$WORK/state"
socket = "$WORK/app.sock"
admin_socket = "$WORK/admin.sock"
[upstream.hq]
url = "http://127.0.0.1:$(cat "$WORK/port")/sync"
EOF

say "-- without a terminal, and without an agent"
# `script` is not needed: a pipe is not a terminal, which is enough.
refused=0
resyncd top </dev/null >"$WORK/refused" 2>&1 || refused=$?
if [ "$refused" = 2 ] && grep -q 'resyncd status' "$WORK/refused"; then passed "no terminal: exit 2, and what to use"; else
    failed "no terminal: exit $refused" "$(cat "$WORK/refused")"
fi
open_window small 80 24
keys small "'$AGENT' top; echo ended \$?" Enter
sees small '^ended 3$' "neither agent nor store: exit 3"

say "-- a day that went badly, at 80 x 24 and at 200 x 60"
start_agent
record CREATE s-1 4711
record CREATE r-2 4711 --order-key drawer-1
until_true counts critical 2
record UPDATE s-1 4712
close_office
record CREATE s-3 4713
record CREATE s-4 4714
until_true line_is offline
watch small
sees small 'no connection' "the line is seen to be away"
same small bad-80x24
open_window large 200 60
watch_large() { keys large "'$AGENT' top" Enter; sees large 'q quit' "top in large"; }
watch_large
same large bad-200x60

say "-- keys"
keys small Down Enter
sees small 'Esc back' "Enter opens a failure"
same small page-80x24
keys small Escape
sees small '^> 1 ' "Escape goes back, and the choice stays"
keys small '?'
same small help-80x24
keys small x
sees small 'q quit' "any key leaves the help"
keys small / 's-4'
sees small '^/s-4_' "a filter is typed"
keys small Enter
sees small '1 failure found filter: s-4' "a filter finds"
keys small h
sees small '^Put no. 5 SALE s-4 CREATE on hold?' "h asks first"
keys small 'by hand' Enter
sees small 'put on hold; undo: resyncd release' "h holds"
sees small '^> 5 SALE s-4 CREATE held ' "it is seen to be held"
if resyncd history s-4 | grep -q 'hold by .*by hand'; then passed "a hold stands in the audit, with its reason"; else
    failed "a hold stands in the audit" "$(resyncd history s-4)"
fi
keys small h
sees small '^Release no. 5' "h on a held one releases"
keys small Enter
sees small '^> 5 SALE s-4 CREATE [ds]' "it is seen to be released"
keys small Escape
sees small '5 failures' "Escape takes the filter away"
keys small Home r Enter
sees small 'queued for retry' "r sends again"
until_true counts critical 1 && passed "it is on its way" || failed "it is on its way"

say "-- another size, another look"
tm resize-window -t large -x 90 -y 30
until_true eval '[ "$(screen large | tail -n 1 | cut -c 1-6)" = arrows ]' && passed "a resized window is drawn anew" ||
    failed "a resized window" "$(screen large)"
[ "$(tm display-message -p -t large '#{pane_height}')" = 30 ] || failed "the window has its size"
if tm capture-pane -e -p -t small | grep -q $'\x1b\\[[0-9;]*3[123]'; then passed "colours on a terminal"; else failed "colours"; fi

say "-- the agent goes and comes"
stop_agent
sees small 'The agent is not running' "it is told that the agent has gone"
open_office
start_agent
sees small '^hq online ' "it is told that the agent is there again, and the line"
sees small ' pending 1 critical 2 ' "what waited is gone, but for the one that waits behind another"

say "-- the terminal is left as it was"
keys small q
left small 0 "q"
watch small
keys small C-c
left small 0 "Ctrl-C"
watch small
kill -TERM "$(top_of small)"
left small 0 "SIGTERM"
watch small
kill -HUP "$(top_of small)"
left small 0 "SIGHUP"
keys small "clear; '$AGENT' top; stty -a > $WORK/stopped" Enter
sees small 'q quit' "top in small"
kill -STOP "$(top_of small)"
sees small 'Stopped' "a stopped top leaves the terminal to the shell"
keys small 'clear; fg; stty -a > '"$WORK/after" Enter
sees small '^UPSTREAM STATE' "it draws anew when it goes on"
keys small q
until_true test -s "$WORK/after" || true
if cmp -s "$WORK/before" "$WORK/after"; then passed "a stop and q: the terminal's settings"; else
    failed "a stop and q: the terminal's settings" "$(diff "$WORK/before" "$WORK/after")"
fi
rm -f "$WORK/after"
keys small "clear; NO_COLOR=1 '$AGENT' top" Enter
sees small 'q quit' "top with NO_COLOR"
if tm capture-pane -e -p -t small | grep -q $'\x1b\\['; then failed "NO_COLOR: $(tm capture-pane -e -p -t small | grep -m 1 $'\x1b\\[' | cat -v)"; else passed "NO_COLOR: no colour at all"; fi
keys small q
stop_agent
sees small '^ready>' "the shell"
watch small
sees small 'The agent is not running' "a store without its agent is shown"
keys small q
left small 3 "q, and the agent never was there"

say "-- what watching costs"
start_agent
keys small "clear; '$AGENT' top" Enter
sees small 'q quit' "top in small"
used() { # used PID: hundredths of a second of the processor
    cut -d ' ' -f 14,15 "/proc/$1/stat" | tr ' ' '+' | { read -r sum; echo $((sum)); }
}
keys large q
until_true shows large '^ready>' || true
FOR=${RESYNCD_WATCH:-5}
TOP=$(top_of small)
before=("$(used "$TOP")" "$(used "$DAEMON")")
sleep "$FOR"
say "in $FOR s, in hundredths of a second: top $(($(used "$TOP") - before[0])), agent $(($(used "$DAEMON") - before[1]))"
keys small q

say "$PASSED ok, $FAILED failed"
[ "$FAILED" = 0 ]
