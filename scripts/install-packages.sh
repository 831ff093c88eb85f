#!/usr/bin/env bash
# Usage: scripts/install-packages.sh NAME...     (called by setup.sh; as root on Debian and Ubuntu, as yourself on macOS)
#
# Installs by the names that setup.sh uses: compiler curl procps postgresql redis-server python3 node npm haproxy
# nginx wrk xmlsec1.
# Leaves the machine's services as they were: packages that start one on installation are kept from it, and what ran
# before runs afterwards.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -gt 0 ] || die "usage: $0 NAME..."

install_with_brew() {
  local name formulae=()
  have brew || die 'please install Homebrew (https://brew.sh) and try again'
  for name in "$@"; do
    case $name in
      compiler) die 'please run: xcode-select --install' ;;
      postgresql) formulae+=(postgresql@17) ;;
      python3) formulae+=(python) ;;
      redis-server) formulae+=(redis) ;;
      node | npm) formulae+=(node) ;;
      xmlsec1) formulae+=(libxmlsec1) ;;
      *) formulae+=("$name") ;;
    esac
  done
  brew install "${formulae[@]}"
}

# The newest PostgreSQL package that apt offers.
newest_postgresql() {
  local version
  version=$(apt-cache search --names-only '^postgresql-[0-9]+$' | sed -E 's/^postgresql-([0-9]+) .*/\1/' | sort -n | tail -n 1)
  [ "${version:-0}" -ge "$PG_OLDEST" ] || die "apt offers PostgreSQL ${version:-none}, but $PG_OLDEST or later is needed; \
add the PostgreSQL project's repository (https://wiki.postgresql.org/wiki/Apt) and try again"
  echo "postgresql-$version"
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" </dev/null
}

running_services() {
  if [ -d /run/systemd/system ]; then
    systemctl list-units --type=service --state=running --no-legend --plain | awk '{ print $1 }' | sort
  fi
}

POLICY=/usr/sbin/policy-rc.d
policy_is_ours=no
remove_policy() {
  if [ "$policy_is_ours" = yes ]; then
    rm -f "$POLICY"
  fi
}

install_with_apt() {
  local name before packages=() services=()
  if [ "$(id -u)" != 0 ]; then
    die "please run this as root: bash $ROOT/scripts/install-packages.sh $*"
  fi
  say 'apt-get update'
  apt-get update -qq -o DPkg::Lock::Timeout=120 </dev/null || say 'apt-get update failed; trying with the package lists that are here'

  before=$(running_services)
  # Asked by every package before it starts a service; 101 = "no". A machine that has such a file keeps its own.
  if [ ! -e "$POLICY" ]; then
    policy_is_ours=yes
    trap remove_policy EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\n# from businessos scripts/install-packages.sh, for the time of an installation\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
  fi

  for name in "$@"; do
    case $name in
      compiler) packages+=(gcc g++ make libc6-dev) ;;
      curl) packages+=(curl ca-certificates) ;;
      postgresql)
        # The server package makes and starts a cluster on port 5432 unless told not to before it is installed.
        apt_install postgresql-common
        if ! grep -Eqs '^[[:space:]]*create_main_cluster[[:space:]]*=[[:space:]]*false' /etc/postgresql-common/createcluster.conf; then
          say 'setting create_main_cluster = false in /etc/postgresql-common/createcluster.conf'
          printf '\n# added by businessos: only the binaries are wanted\ncreate_main_cluster = false\n' \
            >>/etc/postgresql-common/createcluster.conf
        fi
        packages+=("$(newest_postgresql)")
        ;;
      node) packages+=(nodejs) ;;
      *) packages+=("$name") ;;
    esac
  done
  # Those that bring a service of the same name, and are new here.
  for name in haproxy nginx redis-server; do
    case " ${packages[*]} " in
      *" $name "*) dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || services+=("$name") ;;
    esac
  done
  say "apt-get install ${packages[*]}"
  apt_install "${packages[@]}"

  # Installed a moment ago for their binaries: they shall not start at the next boot either.
  for name in ${services[@]+"${services[@]}"}; do
    if [ -d /run/systemd/system ]; then
      systemctl disable --now --quiet "$name" 2>/dev/null || true
    elif [ -x "/etc/init.d/$name" ]; then
      "/etc/init.d/$name" stop >/dev/null 2>&1 || true
      update-rc.d "$name" disable >/dev/null 2>&1 || true
    fi
  done
  # A service that apt had to upgrade on the way was stopped, and the policy kept it from coming back.
  remove_policy
  comm -23 <(printf '%s\n' "$before") <(running_services) | while read -r name; do
    if [ -n "$name" ]; then
      systemctl start "$name" || say "could not start $name again"
    fi
  done
}

case $(uname -s) in
  Darwin) install_with_brew "$@" ;;
  *)
    have apt-get || die "this script knows apt and Homebrew only. Please install by your system's own means: $*
    (postgresql: the server binaries initdb and postgres, version $PG_OLDEST or later)"
    install_with_apt "$@"
    ;;
esac
