# shellcheck shell=bash
# Shared by the scripts of this directory; to be sourced, not run. Works with bash 3.2, which macOS ships.
#
# Afterwards the working directory is the checkout, and these are set:
#   BUSINESSOS_CACHE   what may be thrown away but is dear to rebuild (default: ~/.cache/businessos)
#   CARGO_TARGET_DIR   build output; outside the checkout, so that a fresh clone on a known machine builds quickly (call
#                      claim_target_dir before cargo)
#   SQLX_OFFLINE       query macros read the committed .sqlx/ and never a DATABASE_URL that happens to be set

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$(pwd -P)

: "${HOME:=$(cd ~ && pwd)}"
export HOME
: "${BUSINESSOS_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/businessos}"
: "${CARGO_TARGET_DIR:=$BUSINESSOS_CACHE/target}"
export BUSINESSOS_CACHE CARGO_TARGET_DIR
export SQLX_OFFLINE=true

# The oldest PostgreSQL that the server accepts.
# shellcheck disable=SC2034 # read by setup.sh and install-packages.sh
PG_OLDEST=15

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then
  PATH="$HOME/.cargo/bin:$PATH"
fi

# Prints the directory with the newest `initdb` and `postgres` of at least PG_OLDEST, or fails. Debian keeps them outside PATH.
pg_bin_dir() {
  local dir version best='' best_version=0
  for dir in ${BUSINESSOS__DATABASE__EMBEDDED_BIN_DIR:+"$BUSINESSOS__DATABASE__EMBEDDED_BIN_DIR"} \
    /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin \
    "$(dirname "$(command -v postgres 2>/dev/null || echo /nonexistent/postgres)")"; do
    [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] || continue
    version=$("$dir/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
    if [ "$version" -ge "$PG_OLDEST" ] && [ "$version" -gt "$best_version" ]; then
      best=$dir best_version=$version
    fi
  done
  [ -n "$best" ] && printf '%s\n' "$best"
}

# as_user USER COMMAND...: runs a command as another user; for root only.
as_user() {
  local user=$1
  shift
  if have runuser; then
    runuser -u "$user" -- "$@"
  else
    sudo -n -u "$user" -- "$@"
  fi
}

# Runs a command as an ordinary user: PostgreSQL refuses root. As anybody else it just runs it.
as_ordinary_user() {
  if [ "$(id -u)" != 0 ]; then
    "$@"
  else
    as_user "$(ordinary_user)" "$@"
  fi
}

# The user that as_ordinary_user takes.
ordinary_user() {
  local user
  if [ "$(id -u)" != 0 ]; then
    id -un
    return
  fi
  for user in postgres nobody; do
    if id "$user" >/dev/null 2>&1; then
      echo "$user"
      return
    fi
  done
  die 'started as root, and there is no user "postgres" or "nobody" to run PostgreSQL as'
}

# setting SECTION KEY DEFAULT: a setting as the server sees it: environment, then config.toml, then the default. The
# section is '' for keys outside of any. Knows plain one-line values only, which is all that these scripts ask for.
setting() {
  local variable value=''
  variable=BUSINESSOS__$(printf '%s' "${1:+$1__}$2" | tr '[:lower:]' '[:upper:]')
  value=${!variable:-}
  if [ -z "$value" ] && [ -f config.toml ]; then
    value=$(awk -v section="${1:+[$1]}" -v key="$2" '
      /^\[/ { current = $1 }
      current == section && $1 == key && $2 == "=" { sub(/^[^=]*= */, ""); gsub(/^"|" *(#.*)?$/, ""); print; exit }
    ' config.toml)
  fi
  printf '%s\n' "${value:-$3}"
}

# Makes the build output this checkout's. Cargo tells checkouts apart by nothing but the age of their files: one whose files
# are older than what another checkout has built would be taken for built. Dependencies stay; only this program goes.
claim_target_dir() {
  local mark=$CARGO_TARGET_DIR/.businessos-checkout
  if [ "$(cat "$mark" 2>/dev/null)" != "$ROOT" ]; then
    mkdir -p "$CARGO_TARGET_DIR"
    cargo clean --quiet --package businessos
    cargo clean --quiet --release --package businessos
    printf '%s\n' "$ROOT" >"$mark"
  fi
}

# The directory that `make run` takes when the checkout is closed to PostgreSQL's user: for root, whose home is 0700. One
# for each checkout, and not where an installed server keeps its data.
outside_data_dir() {
  local name
  name=$(basename "$ROOT" | tr -cd 'A-Za-z0-9._-')
  printf '/var/lib/businessos-dev/%s-%s\n' "$name" "$(printf '%s' "$ROOT" | cksum | cut -d ' ' -f 1)"
}

# The data directory that `make run` uses: the configured one, or outside_data_dir if nobody configured one, the cluster
# would be embedded, and the user that it runs as under root cannot get into the checkout. One that is there is kept.
run_data_dir() {
  local configured user
  configured=$(setting '' data_dir data)
  if [ "$configured" != data ] || [ "$(id -u)" != 0 ] || [ -n "$(setting database url '')" ] || [ -e data/postgres/data ]; then
    printf '%s\n' "$configured"
    return
  fi
  user=$(setting database embedded_user postgres)
  # The server makes a user that is missing; until then anybody else tells as much.
  id "$user" >/dev/null 2>&1 || user=nobody
  if as_user "$user" sh -c 'cd -- "$0"' "$ROOT" 2>/dev/null; then
    printf '%s\n' "$configured"
  else
    outside_data_dir
  fi
}
