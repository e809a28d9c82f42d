#!/usr/bin/env bash
# Compares restores by veza_backup and by pgBackRest, on one machine, with one data set, in one run.
#
#   bench/restore.sh [--rounds N] [--size MIB] [--files N] [--segments N] [--latency MS] [--stores "dir s3"]
#                    [--json FILE] [--keep]
#
# Installs what is missing (Debian packages), builds, makes a cluster of about 3.6 GB in 13,000
# files, backs it up with both tools to a directory and to S3 (a throw-away Ceph gateway, over TLS),
# and writes 100 segments of WAL. Then measures in turns, 3 rounds by default: restore, restore with
# delta after a small change, and recovery of the WAL through restore_command, compared with cp. The
# first round also measures restore and recovery from S3 with 40 ms added to each request (0: not
# measured), and vezactl's drill. Prints medians and the aims, and an estimate for a cluster of 1
# TB. Writes all single figures as JSON. Leaves nothing running. README.md describes the
# measurements. `--rounds 1 --size 250 --files 2000 --segments 20` is a quick test that it works.
#
# The environment variables are those of run.sh. 8 times the size must be free in VEZA_TEST_DIR.
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

segments=100
latency=40
json=$top/bench/restore-results.json
restored=
# The processes of a pgBackRest that has as many requests in flight as vezactl.
many=8

# --- what is restored ----------------------------------------------------------------------------

put_s3_far() {
  [[ " $stores " == *" s3 "* ]] && ((latency > 0)) || return 0
  /usr/bin/python3 "$work/latency_proxy.py" "$latency" "${s3_endpoint#https://}" >"$work/proxy.port" &
  proxy_pid=$!
  wait_for_port "$work/proxy.port" "$proxy_pid"
  far=far
  far_endpoint=https://localhost:$(cat "$work/proxy.port")
  write_settings
}

# Our backup comes first. The WAL that the later backup writes must then be replayed by us, and not
# by the other tool.
back_up() {
  local store
  for store in $stores; do
    say "backups on $store"
    archive_to veza "$store" 3
    [[ ${first_segment:-} ]] || first_segment=$(sql -c "SELECT pg_walfile_name(pg_current_wal_lsn())")
    sql -c "CALL veza_backup_take('full', wait_for_running => true)"
    archive_to pgbackrest "$store" 3
    backrest "$store" 3 --type=full backup
  done
  archive_to nothing
  library=$(sed -n "s/^archive_library = //p" "$work/active.conf")
}

# Stores all segments since the first backup in each repository and as plain files.
archive_everywhere() {
  local store tool
  say "$segments segments of WAL"
  write_wal "$segments"
  sql -c "SELECT pg_switch_wal()" -c CHECKPOINT >"$work/switch.log"
  unprivileged /usr/bin/python3 "$work/backlog.py" during "$work/data" -- true >"$work/idle.log"
  unprivileged find "$work/data/pg_wal/archive_status" -name '*.done' -printf '%f\n' | sed 's/\.done$//' |
    grep -xE '[0-9A-F]{24}' | awk -v first="$first_segment" '$0 >= first' | sort >"$work/backlog"
  backlog=$(wc -l <"$work/backlog")
  unprivileged mkdir "$work/wal"
  sed "s|^|$work/data/pg_wal/|" "$work/backlog" | unprivileged xargs cp -t "$work/wal"
  for store in $stores; do
    for tool in veza pgbackrest; do
      archive_settings "$tool" "$store" 3 | private_file "$work/active.conf"
      reload
      # pgBackRest remembers segments by their names, and would not store these again.
      unprivileged rm -rf "$work/spool/archive"
      unprivileged /usr/bin/python3 "$work/backlog.py" again "$work/data" "$work/backlog"
      unprivileged /usr/bin/python3 "$work/backlog.py" drain "$work/data" "$work/backlog"
    done
  done
  # Otherwise the last repository would also get the WAL that is written when the server stops.
  archive_settings nothing | private_file "$work/active.conf"
  reload
  echo "$backlog segments"
}

# --- what is measured ----------------------------------------------------------------------------

# Prints the number of requests that the gateway has answered. Its log has a line for each.
requests() { [[ $1 == dir ]] || grep -c '"GET /' "$work/s3/log/client.rgw.log" || true; }

# measured WHAT TOOL STORE WATCH COMMAND...
measured() {
  local what=$1 tool=$2 store=$3 watch=$4 before
  shift 4
  before=$(requests "$store")
  run_measured "$what" "$tool" "$store" 3 "$watch" -- "$@"
  [[ $store == dir ]] ||
    echo "{\"requests\": $(($(requests "$store") - before))}" | record "$what" "$tool" "$store" 3
  printf '%-8s %-13s %-4s %8.2f s\n' "$what" "$tool" "$store" "$(tail -n 2 "$work/results" | wall_of)"
}

# restore_by WHAT TOOL STORE [OPTION...], into $restored.
restore_by() {
  local what=$1 tool=$2 store=$3
  shift 3
  case $tool in
    veza)
      measured "$what" veza "$store" vezactl \
        "$VEZACTL" --config "$work/veza-$store-3.conf" restore --quiet --target-dir "$restored" "$@"
      ;;
    pgbackrest*)
      unprivileged install -d -m 0700 "$restored"
      measured "$what" "$tool" "$store" pgbackrest "$PGBACKREST" --config="$work/pgbackrest-$store-3.conf" \
        --stanza=bench --pg1-path="$restored" --archive-mode=off restore "$@"
      ;;
  esac
}

# replay TOOL STORE [OPTION OF postgres...]: starts the server in $restored, and lets it recover.
replay() {
  local tool=$1 store=$2 before end
  shift 2
  unprivileged rm -rf "$work/spool/archive"
  before=$(requests "$store")
  sync
  unprivileged /usr/bin/python3 -B "$work/replay.py" "$restored" "$work/replay.log" -- "$bindir/postgres" "$@" \
    >"$work/replayed.json" || {
    tail -n 20 "$work/replay.log" >&2
    fail "recovery with $tool from $store failed"
  }
  end=$(/usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin).pop("end"))' <"$work/replayed.json")
  : "${replay_end:=$end}"
  [[ $end == "$replay_end" ]] || fail "recovery with $tool from $store ended at $end, others at $replay_end"
  /usr/bin/python3 -c 'import json, sys
figures = json.load(sys.stdin)
del figures["end"]
if sys.argv[1]:
    figures["requests"] = int(sys.argv[1])
print(json.dumps(figures))' "$([[ $store == dir ]] || echo $(($(requests "$store") - before)))" \
    <"$work/replayed.json" | record replay "$tool" "$store" 3
  printf '%-8s %-13s %-4s %8.2f s\n' replay "$tool" "$store" "$(tail -n 1 "$work/results" | wall_of)"
}

# Copies what was just restored, and recovers it from plain files.
floor_of() {
  measured floor cp dir cp bash -c "cp -a '$work/restored' '$work/copied' && sync -f '$work/copied'"
  restored=$work/copied
  replay cp dir -c "restore_command=cp '$work/wal/%f' '%p'"
  discard "$work/copied"
}

restore_and_replay() {
  local tool=$1 store=$2
  restored=$work/restored
  restore_by restore "$tool" "$store"
  [[ $tool-$store != veza-dir ]] || floor_of
  restored=$work/restored
  if [[ $store != far ]]; then
    unprivileged /usr/bin/python3 "$work/disturb.py" "$restored"
    restore_by delta "$tool" "$store" --delta
  fi
  replay "$tool" "$store"
  discard "$restored"
}

drill() {
  local store=$1 what=$2
  shift 2
  unprivileged mkdir -p "$work/drill"
  sync
  unprivileged "$VEZACTL" --config "$work/veza-$store-3.conf" --output json --quiet drill --directory "$work/drill" \
    --pg-bin "$bindir" --no-record "$@" >"$work/drill.json" || {
    cat "$work/drill.json" >&2
    fail "the drill from $store failed"
  }
  /usr/bin/python3 -c 'import json, sys
record = json.load(sys.stdin)
print(json.dumps({"rto": record["rto_ms"] / 1000} | {phase: record["phases_ms"][phase] / 1000 for phase in ("restore", "recovery")}))' \
    <"$work/drill.json" | record "$what" veza "$store" 3
  tail -n 1 "$work/results"
}

# --- the rounds ----------------------------------------------------------------------------------

runs() {
  local store
  for store in $stores; do
    echo veza "$store"
    echo pgbackrest "$store"
  done | if ((round % 2)); then cat; else tac; fi
}

run_round() {
  local tool store
  say "round $round of $rounds"
  while read -r tool store <&3; do
    restore_and_replay "$tool" "$store"
  done 3< <(runs)
}

# Runs once, because pgBackRest needs minutes for it.
run_far() {
  say "S3, $latency ms further away"
  restore_and_replay veza far
  restore_and_replay pgbackrest far
  restored=$work/restored
  restore_by restore "pgbackrest-$many" far --process-max="$many"
  discard "$restored"
}

main() {
  local store
  parse_arguments "rounds size files segments" "latency stores" "" "$@"
  [[ $latency =~ ^[0-9]+$ ]] || fail "--latency is a number"
  prepare $((size * 8 + segments * 16 * 6))
  pgbackrest_options="archive-async=y"
  # Keeps every segment.
  server_options="-c wal_keep_size=1TB"
  build_large_cluster
  fresh_repositories
  put_s3_far
  load_corpus
  back_up
  archive_everywhere
  server stop
  for ((round = 1; round <= rounds; round++)); do
    run_round
    ((round == 1)) || continue
    [[ ! $far ]] || run_far
    for store in $stores; do
      drill "$store" drill --target-immediate
      drill "$store" drill-with-wal
    done
  done
  report restore_report.py "files=$cluster_files" "bytes=$cluster_bytes" "segments=$backlog" "latency=$latency"
}

main "$@"
