#!/usr/bin/env bash
# Usage: scripts/scim-check.sh
#
# Asks PyPI `scim2-tester` whether a server of its own speaks SCIM 2.0: discovery, every announced attribute made, replaced, added,
# changed, removed and asked for, on users and groups. Fails unless every check is a success. Needs what `scripts/setup.sh test`
# installs.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$ROOT/scripts/setup.sh" test
cargo build --locked --bin businessos

work=$(mktemp -d)
# The user that PostgreSQL runs as must be able to reach its directory.
chmod 755 "$work"
server=
stop() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap stop EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
cat >"$work/config.toml" <<EOF
data_dir = "$work/data"
[server]
listen = "127.0.0.1:$port"
[admin]
listen = "127.0.0.1:$(free_port)"
[limits]
scim_per_minute = 100000
ip_per_minute = 0
[log]
level = "warn"
access = false
EOF
"$CARGO_TARGET_DIR/debug/businessos" --config "$work/config.toml" serve >"$work/server.log" 2>&1 </dev/null &
server=$!
url=http://127.0.0.1:$port
for _ in $(seq 300); do
  if curl -sf -m 5 -o /dev/null "$url/readyz"; then break; fi
  kill -0 "$server" 2>/dev/null || { cat "$work/server.log" >&2; die 'the server did not start'; }
  sleep 0.2
done

status=0
"$BUSINESSOS_CACHE/scim-venv/bin/python" scripts/scim_check.py "$url" || status=1
if grep -E 'ERROR|panicked' "$work/server.log" >&2; then
  status=1
  say 'the server logged errors'
fi
exit "$status"
