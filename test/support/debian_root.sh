# shellcheck shell=bash
# A Debian of its own in a directory, for what needs another release or a machine that nothing was installed on.
# Needs root, for debootstrap and chroot.

# make_debian ROOT SUITE PACKAGE,PACKAGE... FILE: unless it is there already, which FILE in it proves. debootstrap knows
# no virtual packages.
make_debian() {
  local root=$1 suite=$2 file=$4
  ((EUID == 0)) || {
    echo "$(basename "$0"): run it as root: debootstrap and chroot need that" >&2
    exit 1
  }
  if [[ ! -e $root/$file ]]; then
    command -v debootstrap >/dev/null ||
      { apt-get -qq update && apt-get -qq install -y --no-install-recommends debootstrap; } >/dev/null
    echo "$(basename "$0"): making a Debian $suite in $root"
    debootstrap --variant=minbase --include="$3" "$suite" "$root" http://deb.debian.org/debian \
      >"$root.debootstrap.log" || { tail -n 20 "$root.debootstrap.log" && exit 1; }
  fi
  cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
  # A mirror that the machine takes for fresh enough is fresh enough there, too.
  apt-config dump Acquire::Check-Valid-Until >"$root/etc/apt/apt.conf.d/90machine"
}

# run_in_debian ROOT COMMAND...: what is mounted goes with the namespace.
run_in_debian() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  unshare --mount bash -euo pipefail -c '
    root=$1
    shift
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    exec chroot "$root" "$@"' run_in_debian "$@"
}
