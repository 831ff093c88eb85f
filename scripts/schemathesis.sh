#!/usr/bin/env bash
# Usage: scripts/schemathesis.sh [EXAMPLES]
#
# Sends requests made up from the OpenAPI document (at most EXAMPLES for each operation, 30 if left out) to a server of its own:
# as nobody, as a tenant's owner, as a tenant's identity provider and as an operator. Fails on a 5xx, an undocumented status or media type, or a body that is not
# as documented. Needs Python 3 with venv; schemathesis is installed from PyPI into the cache once.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VERSION=4.32.5
examples=${1:-30}

venv=$BUSINESSOS_CACHE/schemathesis-venv
if [ "$("$venv/bin/pip" list --format freeze 2>/dev/null | grep -i '^schemathesis==')" != "schemathesis==$VERSION" ]; then
  say "installing schemathesis $VERSION, once"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "schemathesis==$VERSION"
fi

"$ROOT/scripts/setup.sh" run
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
ip_per_minute = 0
tenant_per_minute = 100000000
[auth]
access_token_ttl_s = 3600
[log]
level = "warn"
access = false
EOF
businessos() { "$CARGO_TARGET_DIR/debug/businessos" --config "$work/config.toml" "$@"; }
"$CARGO_TARGET_DIR/debug/businessos" --config "$work/config.toml" serve >"$work/server.log" 2>&1 </dev/null &
server=$!
url=http://127.0.0.1:$port
for _ in $(seq 300); do
  if curl -sf -m 5 -o "$work/openapi.json" "$url/openapi.json"; then break; fi
  kill -0 "$server" 2>/dev/null || { cat "$work/server.log" >&2; die 'the server did not start'; }
  sleep 0.2
done

# post TENANT PATH BODY: the answer's body; fails unless it is a success.
post() {
  curl -sS -m 30 --fail-with-body -H 'content-type: application/json' ${1:+-H "x-tenant: $1"} -d "$3" "$url$2"
}
token() { python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])'; }
password=schemathesis-password
post '' /tenants/onboard \
  "{\"name\":\"Acme\",\"subdomain\":\"acme\",\"admin\":{\"email\":\"owner@acme.test\",\"password\":\"$password\"}}" >/dev/null
businessos operator create --email operator@platform.test --password "$password" >/dev/null
owner=$(post acme /auth/login "{\"email\":\"owner@acme.test\",\"password\":\"$password\"}" | token)
provider=$(python3 scripts/scim_token.py "$url" directory)
operator=$(post platform /auth/login "{\"email\":\"operator@platform.test\",\"password\":\"$password\"}" | token)

failed=0
attack() {
  local who=$1
  shift
  say "as $who"
  # Warnings say that made-up ids are not found, which is so.
  (cd "$work" && "$venv/bin/schemathesis" run "$url/openapi.json" --url "$url" --phases examples,coverage,fuzzing \
    --max-examples "$examples" --no-color --warnings off --request-timeout 20 --continue-on-failure \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance "$@") || failed=1
}
attack nobody -H 'X-Tenant: acme'
# A logout would end the session that the others need.
attack "a tenant's owner" -H 'X-Tenant: acme' -H "Authorization: Bearer $owner" --exclude-path /auth/logout
# The rebuild drill has a supervisor fail on purpose; while it comes back, 503 is the right answer.
attack 'an operator' -H 'X-Tenant: platform' -H "Authorization: Bearer $operator" --exclude-path /auth/logout \
  --exclude-path '/operator/tenants/{id}/rebuild'
# 501 is the right answer for a caller who is no user (RFC 7644 section 3.11).
attack "a tenant's identity provider" -H 'X-Tenant: directory' -H "Authorization: Bearer $provider" \
  --include-path-regex '^/scim/v2/' --exclude-path /scim/v2/Me
attack "a tenant's owner who leaves" -H 'X-Tenant: acme' -H "Authorization: Bearer $owner" --include-path /auth/logout

# The framework logs requests that are no HTTP as errors; those are ours.
if grep -E 'ERROR|panicked' "$work/server.log" | grep -v 'request parse error' >&2; then
  failed=1
  say 'the server logged errors'
fi
exit "$failed"
