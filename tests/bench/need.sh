# Installs what a benchmark needs, sourced by run.sh and whole_job.sh.

need() { # need COMMAND PACKAGE: installs a Debian package when its command (a name, or a path with wildcards) is missing
    command -v "$1" >/dev/null 2>&1 && return 0
    ! compgen -G "$1" >/dev/null || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "missing: $1 (Debian package $2)" >&2
        return 1
    fi
    # The package's own server would use the measured cores, and must not be left running.
    local policy=/usr/sbin/policy-rc.d made=
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1; }
    [ -n "${APT_UPDATED:-}" ] || { timeout 300 apt-get -qq update; APT_UPDATED=1; }
    local result=0
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq install -y --no-install-recommends "$2" >/dev/null || result=$?
    [ -z "$made" ] || rm -f "$policy"
    return "$result"
}
