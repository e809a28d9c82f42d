#!/usr/bin/env bash
# Shows veza_backup on a bare Debian 12 machine: installs the packages that are missing, compiles, starts a
# throw-away cluster that archives and backs itself up to a local, encrypted repository, loses data
# by mistake, and brings the moment before the mistake back. It ends with how long each part took: on
# two processors less than three minutes, apart from the packages. Nothing but the packages is left.
#
# VEZA_DEMO_INSTALLED=1 takes the extension and vezactl that are installed, for the server of PG_CONFIG.
set -euo pipefail
# shellcheck source=test/support/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/support/common.sh"

work=
finish() {
  local status=$? data
  trap - EXIT
  for data in "$work"/data "$work"/restored; do
    [[ ! -f $data/postmaster.pid ]] ||
      unprivileged "$bindir/pg_ctl" -D "$data" -m immediate -w stop >/dev/null || true
  done
  if ((status != 0)); then
    tail -n 20 "$work"/*.log >&2 || true
    echo "demo.sh: failed; everything it made is in $work" >&2
  else
    rm -rf "$work"
  fi
  exit "$status"
}

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

part=
parts=0
took=() # a line for each part that has ended
end_part() {
  local ms=$(($(now_ms) - part_began))
  took+=("$(printf '%5d.%d s  %s' $((ms / 1000)) $((ms % 1000 / 100)) "$part")")
}

# step PART TEXT: ends the part before and begins another.
step() {
  [[ ! $part ]] || end_part
  part=$1
  parts=$((parts + 1))
  part_began=$(now_ms)
  printf '\n\033[1m%d. %s\033[0m\n' "$parts" "$2"
}
show() { printf '   $ %s\n' "$*"; }

# psql DATA SQL: the answer without decoration.
ask() { unprivileged "$bindir/psql" -X -v ON_ERROR_STOP=1 -h "$work" -p "$1" -U postgres -Atc "$2" postgres; }
# The same as a person would see it.
query() {
  show "psql -c \"$2\""
  unprivileged "$bindir/psql" -X -v ON_ERROR_STOP=1 -h "$work" -p "$1" -U postgres -c "$2" postgres |
    sed 's/^/   /'
}

free_port() {
  local port
  for ((port = 54400; port < 54500; port++)); do
    [[ -e $work/.s.PGSQL.$port ]] || (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || {
      echo "$port"
      return
    }
  done
  fail "no free port"
}

if [[ ${VEZA_DEMO_INSTALLED:-} ]]; then
  bindir=$("${PG_CONFIG:-pg_config}" --bindir)
  VEZACTL=$(command -v vezactl)
else
  step packages "Installing the packages that are missing"
  bash "$top/test/support/setup.sh" build
fi
make_work_directory demo
trap finish EXIT

if [[ ! ${VEZA_DEMO_INSTALLED:-} ]]; then
  step "compile and install" "Compiling the extension and vezactl, and installing them into a copy of PostgreSQL"
  install_private_server
fi

step "server" "A cluster that archives to $work/repository, encrypted"
port=$(free_port)
unprivileged "$bindir/initdb" -D "$work/data" -U postgres -A trust -k --no-locale -E UTF8 >"$work/initdb.log"
(
  umask 077
  cat >"$work/veza_backup.conf" <<CONF
veza_backup.repository = '$work/repository'
veza_backup.cluster = 'demo'
veza_backup.cipher_passphrase = '$(head -c 24 /dev/urandom | base64)'
CONF
)
((EUID != 0)) || chown postgres: "$work/veza_backup.conf"
cat <<CONF | unprivileged tee -a "$work/data/postgresql.conf" >/dev/null
listen_addresses = ''
unix_socket_directories = '$work'
port = $port
wal_level = replica
archive_mode = on
archive_library = 'veza_backup'
archive_timeout = 60
shared_preload_libraries = 'veza_backup'
include '$work/veza_backup.conf'
CONF
sed 's/^/   /; s/\(passphrase = \).*/\1(random)/' "$work/veza_backup.conf"
unprivileged "$bindir/pg_ctl" -D "$work/data" -l "$work/server.log" -w start >/dev/null
ask "$port" "SET client_min_messages = warning; CREATE EXTENSION veza_backup" >/dev/null
query "$port" "SELECT veza_backup_init()"
query "$port" "SELECT name, passed, detail FROM veza_backup_check()"

step "full backup" "Rows, and a full backup"
ask "$port" "CREATE TABLE orders (id bigserial PRIMARY KEY, item text, at timestamptz DEFAULT now())" >/dev/null
ask "$port" "INSERT INTO orders (item) SELECT 'item ' || n FROM generate_series(1, 50000) n" >/dev/null
query "$port" "SELECT veza_backup_now('full') AS label"

step "diff backup" "Some rows are changed, and a diff backup"
ask "$port" "UPDATE orders SET item = item || ' (changed)' WHERE id % 1000 = 0" >/dev/null
query "$port" "SELECT veza_backup_now('diff') AS label"
query "$port" "SELECT kind, schedule, description, next_run FROM veza_backup_schedule"

step "the mistake" "More rows after the backup, and then the mistake"
ask "$port" "INSERT INTO orders (item) SELECT 'late item ' || n FROM generate_series(1, 1234) n" >/dev/null
wanted=$(ask "$port" "SELECT count(*) || ' rows, checksum ' || sum(hashtext(id || item || at)::bigint) FROM orders")
moment=$(ask "$port" "SELECT clock_timestamp()")
sleep 1
query "$port" "DELETE FROM orders"
ask "$port" "SELECT pg_switch_wal()" >/dev/null
query "$port" "SELECT label, type, status, pg_size_pretty(size) AS size, pg_size_pretty(stored_size) AS stored FROM veza_backup_info()"

step "the loss" "The server is lost"
unprivileged "$bindir/pg_ctl" -D "$work/data" -m fast -w stop >/dev/null
((${#work} > 5)) && mv "$work/data" "$work/lost"
show "vezactl --config veza_backup.conf info"
unprivileged "$VEZACTL" --config "$work/veza_backup.conf" info | sed 's/^/   /'

step "restore" "Back to $moment"
show "vezactl --config veza_backup.conf restore --target-dir restored --target-time '$moment' --target-action promote"
unprivileged "$VEZACTL" --config "$work/veza_backup.conf" restore --target-dir "$work/restored" \
  --target-time "$moment" --target-action promote 2>&1 | sed 's/^/   /'
unprivileged "$bindir/pg_ctl" -D "$work/restored" -l "$work/restored.log" -w start >/dev/null
for ((i = 0; i < 300; i++)); do
  [[ $(ask "$port" "SELECT pg_is_in_recovery()") != f ]] || break
  sleep 0.2
done
found=$(ask "$port" "SELECT count(*) || ' rows, checksum ' || sum(hashtext(id || item || at)::bigint) FROM orders")
printf '   before the mistake: %s\n   restored:           %s\n' "$wanted" "$found"
[[ $found == "$wanted" ]] || fail "the restored rows are not those of the moment"

end_part
printf '\n\033[1m%s\033[0m\n' "Proved: the cluster came back as it was at the chosen moment."
printf 'How long each part took:\n'
printf '%s\n' "${took[@]}"
