#!/usr/bin/env bash
# The part of test/deb.sh that runs in the Debian that it makes: installs and removes packages, and
# removes configuration, secrets and backups where a real machine has them.
set -euo pipefail
[[ ${VEZA_DEBIAN_TO_THROW_AWAY:-} == yes ]] || {
  echo "try_packages.sh: run test/deb.sh, which makes a Debian for it" >&2
  exit 2
}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
status=0

# Runs a command, whose output is only of interest when it fails. In the condition itself, set -e would not hold.
check() {
  local name=$1
  shift
  "$@" >"$log" 2>&1 &
  if wait "$!"; then
    echo "ok - $name"
  else
    status=1
    echo "not ok - $name"
    tail -n 60 "$log" | sed 's/^/# /'
  fi
}

# Nothing is to be started here, and no cluster made.
prepare() {
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
  mkdir -p /etc/postgresql-common/createcluster.d
  echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/veza.conf
  apt-get update -q
  apt-get install -qy --no-install-recommends build-essential debhelper fakeroot lintian autopkgtest man-db
  apt-get build-dep -qy --no-install-recommends ./
}

build() { DEB_BUILD_OPTIONS=parallel=$(nproc) dpkg-buildpackage -us -uc -F; }

# All but:
#   initial-upload-closes-no-bugs   nobody has asked Debian for a package, so there is no such bug
#   no-homepage-field, debian-watch-file-is-missing     there is no place for releases yet
#   repeated-path-segment           where PostgreSQL looks for extensions has "lib" twice
#   spelling-error-in-binary        machine code, and a library's words
lint() {
  local allowed=initial-upload-closes-no-bugs,no-homepage-field,debian-watch-file-is-missing
  allowed+=,repeated-path-segment,spelling-error-in-binary
  lintian --allow-root --fail-on error,warning,info,pedantic --info --display-info --pedantic \
    --suppress-tags "$allowed" ../*.changes
}

# Exit code 2: at least one test was skipped.
demo() { autopkgtest -B ../*.deb ./ -- null; }

names_of_packages() {
  local file
  for file in ../*.deb; do dpkg-deb -f "$file" Package; done
}

# All that an administrator has made, with owner, mode and content.
belongings() {
  find /etc/veza_backup /etc/systemd/system/veza-backup-drill.service.d /var/lib/veza_backup_drill \
    /srv/backup -printf '%M %u %g %p\n' | sort
  find /etc/veza_backup /etc/systemd/system/veza-backup-drill.service.d /var/lib/veza_backup_drill /srv/backup \
    -type f -exec sha256sum {} + | sort
}

configure() {
  install -d -m 0750 -o postgres -g postgres /etc/veza_backup /var/lib/veza_backup_drill /srv/backup
  install -m 0600 -o postgres -g postgres /dev/stdin /etc/veza_backup/s3.key <<<secret
  install -m 0600 -o postgres -g postgres /dev/stdin /etc/veza_backup/passphrase <<<another
  install -m 0644 /dev/stdin /etc/veza_backup/veza_backup.conf <<<"veza_backup.repository = '/srv/backup'"
  install -m 0644 -D /dev/stdin /etc/systemd/system/veza-backup-drill.service.d/override.conf <<<'[Service]'
  install -m 0600 -o postgres -g postgres /dev/stdin /var/lib/veza_backup_drill/drill.prom <<<metrics
  install -m 0600 -o postgres -g postgres /dev/stdin /srv/backup/object <<<backup
  belongings >/tmp/belongings
}

unchanged() { belongings | diff /tmp/belongings -; }

install_them() {
  local file
  apt-get install -qy --no-install-recommends ../*.deb
  # The drill is there, and nobody has asked for it yet.
  [[ -f /lib/systemd/system/veza-backup-drill.timer && ! -e /etc/systemd/system/timers.target.wants/veza-backup-drill.timer ]]
  grep -q '^ExecStart=/usr/bin/vezactl ' /lib/systemd/system/veza-backup-drill.service
  vezactl --version
  for file in vezactl vezactl-restore; do man -w "$file"; done
  # All in the place of their package, and nothing in the administrator's.
  ! names_of_packages | xargs dpkg -L | grep -E '^/(usr/local|etc|srv|var)/.'
}

# The same packages with a higher version: dpkg takes the same way as for new ones.
upgrade() {
  local file version
  rm -rf /tmp/upgrade
  mkdir /tmp/upgrade
  for file in ../*.deb; do
    dpkg-deb -R "$file" /tmp/upgrade/tree
    version=$(dpkg-deb -f "$file" Version)
    sed -i "s/$version/$version+next/" /tmp/upgrade/tree/DEBIAN/control
    dpkg-deb --root-owner-group -z1 -b /tmp/upgrade/tree "/tmp/upgrade/$(basename "$file")"
    rm -rf /tmp/upgrade/tree
  done
  apt-get install -qy --no-install-recommends /tmp/upgrade/*.deb
  [[ $(dpkg-query -W -f '${Version}' vezactl) == *+next ]]
  unchanged
}

take_away() {
  names_of_packages | xargs dpkg "--$1"
  [[ ! -e /usr/bin/vezactl ]]
  unchanged
}

# Of files by our name, only the belongings are left.
purge() {
  local left
  install_them
  take_away purge
  find / -xdev \( -path /proc -o -path /build -o -path /tmp -o -path /dev \) -prune -o -iname '*veza*' -print >/tmp/named
  left=$(grep -vE '^(/etc/veza_backup|/etc/systemd/system/veza-backup-drill.service.d|/var/lib/veza_backup_drill)|^/etc/postgresql-common/createcluster.d/veza.conf' /tmp/named) || true
  [[ ! $left ]] || {
    echo "left: $left"
    return 1
  }
}

forget() { rm -rf /etc/veza_backup /var/lib/veza_backup_drill /srv/backup /etc/systemd/system/veza-backup-drill.service.d; }

forget
check "the packages that the build needs" prepare
check "the packages are built" build
if ((status == 0)); then
  check "lintian finds nothing" lint
  check "autopkgtest: the demo, with what is installed" demo
  check "they are installed, and start nothing" install_them
  check "an administrator sets it up" configure
  check "an upgrade leaves that alone" upgrade
  check "a removal leaves it alone" take_away remove
  check "a purge leaves it alone, and nothing else" purge
fi
forget
((status == 0))
