#!/usr/bin/env bash
# Boots a separate Debian system with the package and takes it through a terminal's life (packaging/boot/inside.sh).
#
#   packaging/boot-test.sh [--deb FILE] [--long] [--fetch]
#
# The quick form uses bookworm; --long also trixie and bullseye; --fetch only creates the file system trees, which
# are kept below target/ and reused. It needs root, systemd-nspawn and mmdebstrap (Debian packages
# systemd-container, mmdebstrap). Where it cannot run it says so and, with RESYNCD_NEED_BOOT set, fails.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

suites=(bookworm) deb='' fetch=''
while [ $# -gt 0 ]; do
    case $1 in
        --long) suites=(bookworm trixie bullseye); shift ;;
        --fetch) fetch=yes; shift ;;
        --deb) deb=$2; shift 2 ;;
        *) echo "usage: packaging/boot-test.sh [--deb FILE] [--long] [--fetch]" >&2; exit 2 ;;
    esac
done
target="$(realpath "${CARGO_TARGET_DIR:-target}")"
roots="$target/roots"
mkdir -p "$roots"

cannot() {
    printf '\n!!! NOT TESTED: the boot. %s\n\n' "$*" >&2
    [ -z "${RESYNCD_NEED_BOOT:-}" ] || exit 1
    exit 0
}
[ "$(id -u)" = 0 ] || cannot "It needs root."
for tool in systemd-nspawn mmdebstrap dpkg-deb; do
    command -v "$tool" >/dev/null || cannot "$tool is missing."
done

root_of() { # root_of SUITE: a bare tree of it, made once
    local root="$roots/$1"
    [ -e "$root.whole" ] && return 0
    rm -rf "$root"
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv --dpkgopt=force-unsafe-io \
        --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/resyncd/*' \
        "$1" "$root" "${RESYNCD_DEBIAN:-http://deb.debian.org/debian}" || { rm -rf "$root"; return 1; }
    touch "$root.whole"
}

# The package, and the same one with the next revision.
next_revision() { # next_revision DEB NEW
    local tree="$roots/next"
    rm -rf "$tree"
    dpkg-deb -R "$1" "$tree"
    sed -i 's/^\(Version: .*\)-1$/\1-2/' "$tree/DEBIAN/control"
    dpkg-deb --root-owner-group -Zgzip -z1 --build "$tree" "$2" >/dev/null
    rm -rf "$tree"
}

fresh_copy() { # fresh_copy SUITE: into $machine
    machine="$roots/running"
    rm -rf "$machine"
    cp -a --reflink=auto "$roots/$1" "$machine"
    mkdir -p "$machine/var/lib/boot-test"
    cp packaging/boot/* "$machine/var/lib/boot-test/"
    cp "$deb" "$machine/var/lib/boot-test/one.deb"
    cp "$roots/two.deb" "$machine/var/lib/boot-test/two.deb"
}

nspawn() {
    # Without a terminal, machine registration and a unit: none of them is available everywhere.
    timeout 300 systemd-nspawn --quiet --directory="$machine" --register=no --keep-unit --private-network \
        --resolv-conf=off "$@" </dev/null
}

boot() { nspawn --boot >"$roots/console" 2>&1 || { tail -n 40 "$roots/console"; return 1; }; }

test_suite() { # test_suite SUITE
    local results="$roots/running/var/lib/boot-test/results" begun=$SECONDS
    root_of "$1" || cannot "$1 cannot be had from Debian's archive."
    printf '\n-- %s (its tree took %d s)\n' "$1" $((SECONDS - begun))
    fresh_copy "$1"
    nspawn /bin/sh /var/lib/boot-test/fresh.sh
    fresh_copy "$1"
    cat >"$machine/etc/systemd/system/boot-test.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /var/lib/boot-test/inside.sh
ExecStopPost=/bin/systemctl --no-block poweroff
END
    mkdir -p "$machine/etc/systemd/system/default.target.wants"
    ln -s ../boot-test.service "$machine/etc/systemd/system/default.target.wants/boot-test.service"
    boot && boot || { cat "$results"; return 1; }
    cat "$results"
    grep -q '^reached the end of boot 1$' "$results" && grep -q '^reached the end of boot 2$' "$results" ||
        { echo "it did not reach its end"; return 1; }
    ! grep -q '^NOT OK' "$results" || return 1
    printf -- '-- %s: %d checks, all well, %d s\n' "$1" "$(grep -c '^ok' "$results")" $((SECONDS - begun))
    rm -rf "$machine"
}

if [ -n "$fetch" ]; then
    for suite in "${suites[@]}"; do root_of "$suite" || cannot "$suite cannot be had from Debian's archive."; done
    exit 0
fi
deb="${deb:-$(ls "$target"/dist/resyncd_*_"$(dpkg --print-architecture)".deb 2>/dev/null | head -n 1)}"
[ -f "$deb" ] || { echo "no package: packaging/build.sh makes one" >&2; exit 1; }
next_revision "$deb" "$roots/two.deb"
for suite in "${suites[@]}"; do
    test_suite "$suite"
done
