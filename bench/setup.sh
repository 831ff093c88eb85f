#!/bin/sh
# Installs what the benchmark needs on Debian or Ubuntu: HAProxy, nginx, wrk, a C compiler, Node.js, and the Express
# stack's libraries under the user's cache. Does nothing, and needs no network and no sudo, where all is there already.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/businessos/bench"
PATH="$PATH:/usr/sbin:/sbin"

missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need haproxy haproxy
need nginx nginx-light
need wrk wrk
need cc gcc
need node nodejs
need npm npm
[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null 2>&1 || { echo "bench/setup.sh: please install:$missing" >&2; exit 1; }
    if [ "$(id -u)" -eq 0 ]; then as_root=""; elif command -v sudo >/dev/null 2>&1; then as_root="sudo"; else
        echo "bench/setup.sh: as root, please run: apt-get install$missing" >&2; exit 1
    fi
    # Debian's packages start their services on installation: forbid it while this script runs, unless the machine has
    # a policy of its own, and take the services we brought out of the boot sequence.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap '$as_root rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod 755 "$policy"
    fi
    $as_root apt-get update -q
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
    for service in haproxy nginx; do
        case "$missing" in *"$service"*)
            if command -v systemctl >/dev/null 2>&1; then $as_root systemctl disable --now "$service" >/dev/null 2>&1 || true; fi
        esac
    done
fi

major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
[ "$major" -ge 18 ] || { echo "bench/setup.sh: Node.js 18 or newer is needed, found $(node --version)" >&2; exit 1; }

mkdir -p "$cache"
if ! cmp -s "$here/express/package-lock.json" "$cache/installed-lock.json"; then
    cp "$here/express/package.json" "$here/express/package-lock.json" "$cache/"
    (cd "$cache" && npm ci --no-audit --no-fund --loglevel=error)
    cp "$here/express/package-lock.json" "$cache/installed-lock.json"
fi
