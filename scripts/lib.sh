# shellcheck shell=bash
# Shared by the scripts of this directory; to be sourced, not run. Works with bash 3.2, which macOS ships.
#
# Afterwards the working directory is the checkout, and these are set:
#   BUSINESSOS_CACHE   what may be thrown away but is dear to rebuild (default: ~/.cache/businessos)
#   CARGO_TARGET_DIR   build output; outside the checkout, so that a fresh clone on a known machine builds quickly
#   SQLX_OFFLINE       query macros read the committed .sqlx/ and never a DATABASE_URL that happens to be set

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck disable=SC2034 # read by the scripts that source this file
ROOT=$PWD

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

# Runs a command as an ordinary user: PostgreSQL refuses root. As anybody else it just runs it.
as_ordinary_user() {
  if [ "$(id -u)" != 0 ]; then
    "$@"
  elif have runuser; then
    runuser -u "$(ordinary_user)" -- "$@"
  else
    sudo -n -u "$(ordinary_user)" -- "$@"
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
