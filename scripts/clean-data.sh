#!/usr/bin/env bash
# Usage: scripts/clean-data.sh
#
# Deletes the data directory: the embedded database, the master key, mail files. Refuses while a server uses it.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

data=$(setting '' data_dir data)
if [ ! -e "$data" ]; then
  say "nothing to delete: there is no $data/"
  exit 0
fi
if [ ! -d "$data" ] || [ -L "$data" ] || [ "$(cd "$data" && pwd -P)" = "$(pwd -P)" ]; then
  die "data_dir is \"$data\", which is not a directory of its own; nothing deleted"
fi
# PostgreSQL leaves its process id behind only when it was killed; a live one means that the server is running.
for pid_file in "$data"/*/postmaster.pid "$data"/*/*/postmaster.pid; do
  if [ -f "$pid_file" ] && ps -p "$(head -n 1 "$pid_file")" -o command= 2>/dev/null | grep -q postgres; then
    die "a server is using $data/ (PostgreSQL is running, process $(head -n 1 "$pid_file")); stop it first"
  fi
done
rm -rf -- "$data"
say "deleted $data/"
