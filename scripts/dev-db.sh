#!/usr/bin/env bash
# Usage: scripts/dev-db.sh start|stop|url
#
# A PostgreSQL for trying queries by hand and for tools that want a DATABASE_URL, with the roles and all migrations:
#   start   starts it if needed, applies new migrations, prints the URL
#   url     prints the URL
#   stop    stops it and deletes it
# Not the server's database: that one is under data/ and starts with `make run`.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$ROOT/scripts/pg.sh"

# Root's runtime directory is closed to the ordinary user that PostgreSQL then runs as.
if [ "$(id -u)" = 0 ]; then base=/tmp; else base=${XDG_RUNTIME_DIR:-/tmp}; fi
dir=$base/businessos-dev-db-$(id -u)

case ${1:-} in
  start)
    pg_start "$dir"
    pg_migrate "$dir"
    pg_url "$dir"
    ;;
  stop)
    pg_stop "$dir"
    rm -rf "$dir"
    ;;
  url)
    pg_url "$dir"
    ;;
  *) die "usage: $0 start|stop|url" ;;
esac
