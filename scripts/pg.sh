# shellcheck shell=bash
# A private PostgreSQL cluster for tools; to be sourced after lib.sh. Reached over a unix socket only, by local users
# without a password; no TCP port, no durability: what is in it can be made again at any time.
#
#   pg_start DIR    makes and starts the cluster in DIR (a new or empty directory, or one that pg_start made)
#   pg_url DIR      prints the URL of its database, as the role that owns the schema
#   pg_migrate DIR  applies the migrations that were not applied yet
#   pg_stop DIR     stops it and leaves nothing running
#
# The server has its own, stricter set-up of an embedded cluster in Rust; only the names of roles are common to both.

PG_DATABASE=businessos
PG_SERVICE_ROLES=(crm_rw)

pg_psql() { # pg_psql DIR ROLE DATABASE ARGUMENT...
  local dir=$1 role=$2 database=$3
  shift 3
  PGOPTIONS='--client-min-messages=warning' "$(pg_bin_dir)/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
    --host="$dir" --username="$role" --dbname="$database" "$@"
}

pg_running() {
  as_ordinary_user "$(pg_bin_dir)/pg_ctl" --pgdata="$1/data" status >/dev/null 2>&1
}

pg_start() {
  local dir=$1 bin owner role
  bin=$(pg_bin_dir) || die 'no PostgreSQL server binaries; run: make setup'
  # The path of a unix socket holds about 100 bytes; PostgreSQL's own message about it is easily missed.
  [ ${#dir} -le 80 ] || die "$dir: this path is too long for a unix socket; set XDG_RUNTIME_DIR or TMPDIR to a shorter one"
  owner=$(ordinary_user)
  mkdir -p "$dir"
  # Others could have made a directory of that name first, under /tmp.
  if [ -L "$dir" ] || [ "$(find "$dir" -prune -user "$(id -u)" -o -prune -user "$owner")" != "$dir" ]; then
    die "$dir belongs to somebody else"
  fi
  if [ "$(id -u)" = 0 ]; then
    chown "$owner" "$dir"
  fi
  chmod 700 "$dir"
  if [ ! -f "$dir/data/PG_VERSION" ]; then
    as_ordinary_user "$bin/initdb" --pgdata="$dir/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C \
      --no-sync --no-instructions >/dev/null
  fi
  if ! pg_running "$dir"; then
    as_ordinary_user "$bin/pg_ctl" --pgdata="$dir/data" --log="$dir/postgres.log" --wait --timeout=60 --silent start \
      --options="-c listen_addresses='' -c unix_socket_directories='$dir' -c fsync=off -c shared_buffers=32MB -c max_connections=30" \
      </dev/null >/dev/null || { cat "$dir/postgres.log" >&2; die "PostgreSQL did not start"; }
  fi
  if [ -z "$(pg_psql "$dir" postgres postgres --tuples-only --command="SELECT 1 FROM pg_database WHERE datname = '$PG_DATABASE'")" ]; then
    {
      echo 'CREATE ROLE app_owner LOGIN CREATEROLE;'
      for role in app_rw app_auth app_secrets "${PG_SERVICE_ROLES[@]}"; do
        echo "CREATE ROLE $role LOGIN NOSUPERUSER NOBYPASSRLS NOINHERIT;"
      done
      echo 'CREATE ROLE app_ops LOGIN NOSUPERUSER BYPASSRLS;'
      echo "CREATE DATABASE $PG_DATABASE OWNER app_owner;"
    } | pg_psql "$dir" postgres postgres
  fi
}

pg_url() {
  printf 'postgres://app_owner@localhost/%s?host=%s\n' "$PG_DATABASE" "$(printf '%s' "$1" | sed 's|/|%2F|g')"
}

pg_migrate() {
  local dir=$1 file version mode
  pg_psql "$dir" app_owner "$PG_DATABASE" \
    --command='CREATE SCHEMA IF NOT EXISTS dev_tools; CREATE TABLE IF NOT EXISTS dev_tools.applied (version text PRIMARY KEY)'
  for file in migrations/*.sql; do
    [ -f "$file" ] || continue
    version=$(basename "$file" .sql)
    if [ -n "$(pg_psql "$dir" app_owner "$PG_DATABASE" --tuples-only --command="SELECT 1 FROM dev_tools.applied WHERE version = '$version'")" ]; then
      continue
    fi
    # The same mark that sqlx reads, for statements that cannot run in a transaction.
    mode=--single-transaction
    if head -n 1 "$file" | grep -q '^-- no-transaction'; then
      mode=--echo-errors
    fi
    pg_psql "$dir" app_owner "$PG_DATABASE" "$mode" --file="$file" \
      --command="INSERT INTO dev_tools.applied VALUES ('$version')" >/dev/null || die "migration $file failed"
  done
}

pg_stop() {
  local dir=$1
  if [ -f "$dir/data/PG_VERSION" ] && pg_running "$dir"; then
    as_ordinary_user "$(pg_bin_dir)/pg_ctl" --pgdata="$dir/data" --mode=immediate --wait --timeout=60 --silent stop
  fi
}
