#!/usr/bin/env bash
# Makes the pgBackRest of Debian's newest suite available without installing it. Debian 12's own
# version (2.45) has no block increments, and a comparison with it would flatter us.
#
#   newest_pgbackrest.sh DIR    makes DIR, and DIR/pgbackrest in it, which runs
#
# apt resolves and downloads the package with all its dependencies, down to the C library. It uses
# lists and caches in DIR. Nothing is installed, and root is not needed.
set -euo pipefail
dir=$(realpath -m "$1")
mkdir -p "$dir"/{root,lists/partial,cache/archives/partial,empty}
: >"$dir/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian sid main" \
  >"$dir/sources.list"
cat >"$dir/apt.conf" <<CONF
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "$dir/empty";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$dir/empty";
Dir::State::lists "$dir/lists";
Dir::State::status "$dir/status";
Dir::Cache "$dir/cache";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Debug::NoLocking "true";
CONF
export APT_CONFIG=$dir/apt.conf
apt-get update -q
apt-get install -q -y --download-only pgbackrest
for package in "$dir"/cache/archives/*.deb; do
  case ${package##*/} in
    # Packages that pgBackRest does not load.
    perl* | libperl* | postgresql* | debconf* | coreutils* | ssl-cert*) ;;
    *) dpkg-deb --fsys-tarfile "$package" | tar -C "$dir/root" --no-same-owner -xf - ;;
  esac
done
rm -rf "$dir/lists" "$dir/cache"
# pgBackRest starts its workers by its own name.
cat >"$dir/pgbackrest" <<SH
#!/bin/sh
exec "$dir/root/usr/lib64/ld-linux-x86-64.so.2" --argv0 "$dir/pgbackrest" --library-path "$dir/root/usr/lib/x86_64-linux-gnu" \\
  "$dir/root/usr/bin/pgbackrest" "\$@"
SH
chmod +x "$dir/pgbackrest"
"$dir/pgbackrest" version
