#!/usr/bin/env bash
# Usage: scripts/sqlx-prepare.sh [--check]
#
# Writes .sqlx/, the description of every query!() in the program that lets it be built without a database; to be
# committed. With --check it compares instead and fails, naming the files, when .sqlx/ is not what the code and the
# migrations say. Needs no sqlx-cli: the macros write the files themselves when they see DATABASE_URL and
# SQLX_OFFLINE_DIR, here against a throw-away PostgreSQL with all migrations.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$ROOT/scripts/pg.sh"

case ${1:-} in
  '') check=no ;;
  --check) check=yes ;;
  *) die "usage: $0 [--check]" ;;
esac

work=$(mktemp -d "${TMPDIR:-/tmp}/businessos-sqlx.XXXXXX")
finish() {
  status=$?
  trap - EXIT
  pg_stop "$work/pg" || true
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

chmod 711 "$work"
pg_start "$work/pg"
pg_migrate "$work/pg"
mkdir "$work/sqlx"

# A target directory of its own: with the usual one, every run would throw away what `make test` has built. The macros
# run only when the crate itself is compiled, so that (and not its dependencies) is thrown away first.
target=$BUSINESSOS_CACHE/sqlx-target
cargo clean --quiet --package businessos --target-dir "$target"
say 'compiling every query against the migrated database'
unset SQLX_OFFLINE
DATABASE_URL=$(pg_url "$work/pg") SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$work/sqlx CARGO_INCREMENTAL=0 \
  cargo check --quiet --locked --all-targets --target-dir "$target"

found=$(find "$work/sqlx" -name 'query-*.json' | wc -l | tr -d ' ')
# A run that finds nothing although there are macros would call an empty .sqlx fresh.
if [ "$found" = 0 ] && grep -rqE '\bquery(_as|_scalar)?(_unchecked)?!' --include='*.rs' src tests examples 2>/dev/null; then
  die 'the code has query macros, but none was described; does this sqlx still honour SQLX_OFFLINE_DIR?'
fi

if [ "$check" = no ]; then
  rm -rf .sqlx
  if [ "$found" != 0 ]; then
    mkdir .sqlx
    cp "$work"/sqlx/query-*.json .sqlx/
  fi
  say "$found queries described in .sqlx/"
  exit 0
fi

mkdir -p "$work/committed"
if [ -d .sqlx ]; then
  cp -R .sqlx/. "$work/committed/"
fi
if ! (cd "$work" && diff -rq committed sqlx) >"$work/differences"; then
  sed -E "s|^Only in committed: |  .sqlx/|; t stale; s|^Only in sqlx: |  .sqlx/|; t new; b
    :stale
    s|$| is not needed any more|; b
    :new
    s|$| is missing|" "$work/differences" >&2
  sed -nE 's/^Only in sqlx: //p' "$work/differences" | while read -r file; do
    printf '  missing query: %s\n' "$(sed -nE 's/^ *"query": //p' "$work/sqlx/$file" | cut -c1-150)" >&2
  done
  die 'the committed .sqlx/ does not fit the code; run: make sqlx-prepare'
fi
say ".sqlx/ is fresh ($found queries)"
