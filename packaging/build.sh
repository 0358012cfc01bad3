#!/usr/bin/env bash
# Builds the packages into target/dist: a .deb, an .rpm and a .tar.gz for each architecture that can be built.
#
#   packaging/build.sh                    the binary for glibc 2.17 by cargo-zigbuild, x86-64 and aarch64
#   packaging/build.sh --binary FILE      packages this binary, for the machine it was built for; may be given
#                                         again, the one that runs here first
#   packaging/build.sh --revision N       the package's revision (default 1)
#   packaging/build.sh --dist DIR         another place than target/dist
#   packaging/build.sh --check            builds the packages twice, and compares them byte for byte
#
# The same input gives the same bytes: every time stamp is that of the last commit (or SOURCE_DATE_EPOCH), names
# are sorted, owners are root, and nothing depends on the building machine.
#
# dpkg-deb and rpmbuild pack one tree that this script creates. cargo-deb and cargo-generate-rpm would create
# two, each from its own list in Cargo.toml, and take minutes to compile on a new machine; creating the tree
# takes thirty lines, and the maintainer scripts are needed either way.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C TZ=UTC
umask 022

loudly() { printf '\n!!! %s\n\n' "$*" >&2; }

binary=() revision=1 dist='' check=''
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary+=("$2"); shift 2 ;;
        --revision) revision=$2; shift 2 ;;
        --dist) dist=$2; shift 2 ;;
        --check) check=yes; shift ;;
        *) echo "usage: packaging/build.sh [--binary FILE] [--revision N] [--dist DIR] [--check]" >&2; exit 2 ;;
    esac
done
target="${CARGO_TARGET_DIR:-target}"
dist="${dist:-$target/dist}"
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) || {
        echo "no commit to take the time from: set SOURCE_DATE_EPOCH" >&2
        exit 1
    }
fi
export SOURCE_DATE_EPOCH
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# ---- the binaries

zig_build() { # zig_build RUST_TARGET: a binary for glibc 2.17, below target/
    local home="${CARGO_HOME:-$HOME/.cargo}"
    RUSTFLAGS="--remap-path-prefix=$home=/cargo --remap-path-prefix=$PWD=/resyncd" \
        PATH="$PWD/$target/zig/bin:$PATH" \
        cargo zigbuild --locked --release --target "$1.2.17" >&2
}

have_zig() {
    [ -x "$target/zig/bin/cargo-zigbuild" ] && return 0
    python3 -m venv "$target/zig" && "$target/zig/bin/pip" install --quiet ziglang cargo-zigbuild
}

machine_of() { # machine_of BINARY: what its ELF header says
    case $(od -An -tx1 -j18 -N2 "$1" | tr -d ' ') in
        3e00) echo x86_64 ;;
        b700) echo aarch64 ;;
        *) uname -m ;;
    esac
}

# Prints lines of "ARCHITECTURE BINARY".
binaries() {
    if [ "${#binary[@]}" -gt 0 ]; then
        loudly "packaging ${binary[*]} unchanged: it needs the glibc that it was built for (see Depends). The packages that are given away come from packaging/build.sh without --binary."
        local file
        for file in "${binary[@]}"; do echo "$(machine_of "$file") $file"; done
        return
    fi
    if ! have_zig; then
        loudly "cargo-zigbuild and ziglang cannot be had: NATIVE build, which runs on this machine's glibc and newer ones only."
        cargo build --locked --release >&2
        echo "$(uname -m) $target/release/resyncd"
        return
    fi
    local machine rust
    # The architecture of this machine first: its binary writes the manuals.
    for machine in $(uname -m) $(printf "%s\n" x86_64 aarch64 | grep -vx "$(uname -m)"); do
        rust="$machine-unknown-linux-gnu"
        if ! rustup target list --installed | grep -qx "$rust" && ! rustup target add "$rust" >/dev/null 2>&1; then
            loudly "no packages for $machine: this toolchain has no standard library for it, and rustup cannot fetch it here (rustup target add $rust)."
            continue
        fi
        zig_build "$rust"
        echo "$machine $target/$rust/release/resyncd"
    done
}

# ---- the tree

put() { # put MODE FILE PLACE: a file into the tree
    install -D -m "$1" "$2" "$tree/$3"
}

zipped() { # zipped FILE PLACE: the same, compressed without name and time
    mkdir -p "$(dirname "$tree/$2")"
    gzip -9 -n <"$1" >"$tree/$2.gz"
    chmod 644 "$tree/$2.gz"
}

# Names and licences of the linked crates, without the path of our own sources.
third_party() {
    echo "resyncd is linked statically with these, under these licences:"
    echo
    cargo tree --locked --edges normal --prefix none --format '{p} {l}' --target "$(rustc -vV | sed -n 's/host: //p')" |
        grep -v '^resyncd ' | sed 's/ (\*)$//; s/ (proc-macro)//' | sort -u
    echo "SQLite (in libsqlite3-sys), public domain"
    echo "code from BoringSSL and OpenSSL (in ring), ISC and OpenSSL licences"
}

lay_out() { # lay_out BINARY: the tree that all packages have in common
    local doc=usr/share/doc/resyncd work="$tree.work" page name
    rm -rf "$tree" "$work"
    mkdir -p "$work/man"
    put 755 "$1" usr/bin/resyncd
    put 644 packaging/resyncd.toml etc/resyncd/resyncd.toml
    mkdir -p "$tree/etc/resyncd/resyncd.d"
    for page in packaging/systemd/*.service packaging/systemd/*.socket packaging/systemd/*.path; do
        put 644 "$page" "usr/lib/systemd/system/$(basename "$page")"
    done
    # systemd-sysusers is called with the name that the file has when it is installed.
    put 644 packaging/systemd/resyncd.sysusers usr/lib/sysusers.d/resyncd.conf

    "$runs" man "$work/man"
    cp packaging/man/* "$work/man"
    for page in "$work"/man/*; do
        name=$(basename "$page")
        zipped "$page" "usr/share/man/man${name##*.}/$name"
    done
    for name in bash zsh fish; do "$runs" completions "$name" >"$work/$name"; done
    put 644 "$work/bash" usr/share/bash-completion/completions/resyncd
    put 644 "$work/zsh" usr/share/zsh/vendor-completions/_resyncd
    put 644 "$work/fish" usr/share/fish/vendor_completions.d/resyncd.fish

    put 644 packaging/SECURITY.md $doc/SECURITY.md
    put 644 README.md $doc/README.md
    (cd packaging && find doc examples recipes -type f | sort) | while read -r page; do
        put 644 "packaging/$page" "$doc/$page"
    done
    # README.md is installed next to the files of packaging/, so links to and from it change.
    sed -i 's|](packaging/|](|g' "$tree/$doc/README.md"
    find "$tree/$doc" -mindepth 2 -name '*.md' -exec sed -i 's|](../../README.md|](../README.md|g' {} +
    no_dead_links "$tree/$doc"
    third_party >"$work/third-party"
    put 644 "$work/third-party" $doc/THIRD-PARTY
    rm -rf "$work"
}

no_dead_links() { # no_dead_links DIR: every relative link of its pages leads to a file or directory
    local page link dead=0
    while read -r page; do
        while read -r link; do
            [ -e "$(dirname "$page")/$link" ] || { echo "$page links to $link, which is not installed" >&2; dead=1; }
        done < <(grep -o ']([^)#]*' "$page" | cut -c3- | grep -v '^[a-z]*:' | sort -u)
    done < <(find "$1" -name '*.md')
    return $dead
}

timed() { # timed DIR: gives everything in it the time of the source
    find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

filled() { # filled FILE: a template with its values
    sed -e "s|@VERSION@|$version|g" -e "s|@REVISION@|$revision|g" -e "s|@ARCHITECTURE@|$deb_arch|g" \
        -e "s|@GLIBC@|$glibc|g" -e "s|@SIZE@|${size:-}|g" -e "s|@STAGE@|$PWD/$tree|g" "$1"
}

# ---- the packages

build_deb() {
    local root="$dist/deb-$machine" doc=usr/share/doc/resyncd size
    rm -rf "$root"
    cp -a "$tree" "$root"
    gzip -9 -n <packaging/CHANGELOG.md >"$root/$doc/changelog.gz"
    {
        echo "resyncd ($version-$revision) stable; urgency=medium"
        printf '\n  * What has changed stands in changelog.gz.\n\n'
        echo " -- The resyncd authors <resyncd@localhost.localdomain>  $(date -u -R -d "@$SOURCE_DATE_EPOCH")"
    } | gzip -9 -n >"$root/$doc/changelog.Debian.gz"
    {
        sed '/@LICENSE@/d' packaging/deb/copyright
        sed -n '/^Permission/,$p' LICENSE | sed 's/^$/./; s/^/ /'
    } >"$root/$doc/copyright"
    install -D -m 644 packaging/deb/lintian-overrides "$root/usr/share/lintian/overrides/resyncd"
    size=$(find "$root" -type f -printf '%s\n' | awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')
    mkdir "$root/DEBIAN"
    filled packaging/deb/control.in >"$root/DEBIAN/control"
    echo /etc/resyncd/resyncd.toml >"$root/DEBIAN/conffiles"
    install -m 755 packaging/deb/postinst packaging/deb/prerm packaging/deb/postrm "$root/DEBIAN/"
    (cd "$root" && find usr etc -type f | sort | xargs md5sum) >"$root/DEBIAN/md5sums"
    timed "$root"
    dpkg-deb --root-owner-group -Zxz --build "$root" "$dist/resyncd_$version-${revision}_$deb_arch.deb" >/dev/null
    rm -rf "$root"
}

build_rpm() {
    local work="$PWD/$dist/rpm-$machine" files
    rm -rf "$work"
    mkdir -p "$work"
    # The package's own directories and files, and which of the files are configuration.
    files=$(
        echo "%dir /etc/resyncd"
        echo "%dir /etc/resyncd/resyncd.d"
        echo "%config(noreplace) /etc/resyncd/resyncd.toml"
        echo "/usr/share/doc/resyncd"
        (cd "$tree" && find usr -type f | sort) | grep -v '^usr/share/doc/resyncd/' |
            sed 's|^|/|; s|/zsh/vendor-completions/|/zsh/site-functions/|'
    )
    filled packaging/rpm/resyncd.spec.in | awk -v files="$files" '{ if ($0 == "@FILES@") print files; else print }' \
        >"$work/resyncd.spec"
    rpmbuild -bb --quiet --target "$machine" \
        --define "_topdir $work" --define "_rpmdir $work" --define "_buildhost localhost" \
        --define "_build_id_links none" --define "debug_package %{nil}" --define "__os_install_post %{nil}" \
        --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" \
        --define "_binary_payload w6.xzdio" --define "_binary_filedigest_algorithm 8" \
        --define "_use_internal_dependency_generator 0" --define "_unpackaged_files_terminate_build 1" \
        "$work/resyncd.spec" 2>"$work/said" || { cat "$work/said" >&2; return 1; }
    mv "$work/$machine/resyncd-$version-$revision.$machine.rpm" "$dist/"
    rm -rf "$work"
}

build_tar() {
    local name="resyncd-$version-linux-$machine"
    rm -rf "${dist:?}/$name"
    cp -a "$tree" "$dist/$name"
    cp LICENSE packaging/CHANGELOG.md "$dist/$name/"
    cp packaging/INSTALL "$dist/$name/INSTALL"
    timed "$dist/$name"
    tar -C "$dist" --sort=name --owner=0 --group=0 --numeric-owner --format=ustar -cf - "$name" |
        gzip -9 -n >"$dist/$name.tar.gz"
    rm -rf "${dist:?}/$name"
}

# ---- the story

pack() { # pack MACHINE BINARY
    machine=$1
    case $machine in
        x86_64) deb_arch=amd64 ;;
        aarch64) deb_arch=arm64 ;;
        *) deb_arch=$machine ;;
    esac
    tree="$dist/tree-$machine"
    # Manuals and completions are the same everywhere: a binary that runs here writes them.
    [ "$machine" = "$(uname -m)" ] && runs=$2
    glibc=$(grep -ao 'GLIBC_2\.[0-9.]*' "$2" | sort -uV | tail -n 1 | sed 's/GLIBC_//')
    lay_out "$2"
    timed "$tree"
    build_deb
    if command -v rpmbuild >/dev/null; then
        build_rpm
    else
        loudly "no .rpm: rpmbuild is missing (Debian package rpm)."
    fi
    build_tar
    rm -rf "$tree"
    echo "$machine: needs glibc $glibc or newer"
}

mkdir -p "$dist"
built=$(binaries)
all() { while read -r machine file; do pack "$machine" "$file" </dev/null; done <<<"$built"; }
all
if [ -n "$check" ]; then
    once=$dist
    dist="$once/again"
    mkdir -p "$dist"
    all >/dev/null
    for file in "$dist"/*.*; do
        cmp "$file" "$once/$(basename "$file")" || { echo "not the same bytes twice: $(basename "$file")" >&2; exit 1; }
    done
    echo "built twice, the same bytes: $(cd "$dist" && echo ./*.*)"
    rm -rf "$dist"
    dist=$once
fi
(cd "$dist" && sha256sum resyncd*.deb resyncd*.rpm resyncd*.tar.gz 2>/dev/null >SHA256SUMS && cat SHA256SUMS)
