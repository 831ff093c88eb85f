#!/usr/bin/env bash
# Usage: scripts/clean-data.sh
#
# Deletes the data directory: the embedded database, the master key, mail files; also the one outside of the checkout that
# `make run` may have chosen for root. Refuses while a server uses it.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# uses_postgres PID: whether a PostgreSQL has this process id.
uses_postgres() { ps -p "$1" -o command= 2>/dev/null | grep -q postgres; }

have ps || die 'this needs the command ps, to see whether a server is running; run: make setup'

delete() {
  local data=$1 pid_file pid
  if [ ! -d "$data" ] || [ -L "$data" ] || [ "$(cd "$data" && pwd -P)" = "$ROOT" ]; then
    die "data_dir is \"$data\", which is not a directory of its own; nothing deleted"
  fi
  # PostgreSQL leaves its process id behind only when it was killed; a live one means that the server is running.
  for pid_file in "$data"/*/postmaster.pid "$data"/*/*/postmaster.pid; do
    [ -f "$pid_file" ] || continue
    pid=$(head -n 1 "$pid_file")
    if uses_postgres "$pid"; then
      die "a server is using $data/ (PostgreSQL is running, process $pid); stop it first"
    fi
  done
  rm -rf -- "$data"
  say "deleted $data/"
}

found=no
outside=$(outside_data_dir)
for data in "$(setting '' data_dir data)" "$outside"; do
  if [ "$data" = "$outside" ] && [ "$(id -u)" != 0 ]; then
    continue
  fi
  if [ -e "$data" ]; then
    found=yes
    delete "$data"
  fi
done
if [ "$found" = no ]; then
  say "nothing to delete: there is no $(setting '' data_dir data)/"
fi
