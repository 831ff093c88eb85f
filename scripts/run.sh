#!/usr/bin/env bash
# Usage: scripts/run.sh
#
# From a fresh clone to a platform to play with: installs what is missing, builds, starts the server (with a PostgreSQL
# of its own under data/), the example CRM and the example model, creates the demo tenant if it is not there, and prints
# what to try. Runs until Ctrl-C or SIGTERM, then stops all of them. Root's checkout may be closed to the user that PostgreSQL runs as; the data
# is then under /var/lib/businessos-dev/. Settings as always: config.toml, or for example
#   BUSINESSOS__SERVER__LISTEN=127.0.0.1:4000 make run
# Besides those:
#   BUSINESSOS_PROFILE=release   optimised build. The default is the dev profile: the first build takes a third of the
#                                time, dependencies are optimised in it anyway, and `make test` uses the same output.
#   CRM_LISTEN=127.0.0.1:3200    where the example CRM listens; the gateway's routes are set to it.
#   MODEL_LISTEN=127.0.0.1:3201  the same for the example model, which also serves the example workflows.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DEMO_SUBDOMAIN=acme
DEMO_EMAIL=owner@acme.test
DEMO_PASSWORD='correct horse battery staple'
# initdb, migrations, and crash recovery of a cluster that was killed.
READY_TIMEOUT_S=${READY_TIMEOUT_S:-90}

server_pid=''
crm_pid=''
model_pid=''
body=''

# --- stopping -------------------------------------------------------------------------------------------------------

alive() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }

# The server first, so that requests in flight still find the examples; its own shutdown timeout bounds the wait.
finish() {
  local status=$?
  trap - EXIT
  trap 'kill -KILL $server_pid $crm_pid $model_pid 2>/dev/null' INT TERM HUP
  if alive "$server_pid"; then
    kill -TERM "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
  fi
  local pid
  for pid in $crm_pid $model_pid; do
    alive "$pid" || continue
    kill -TERM "$pid" 2>/dev/null || true
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      alive "$pid" || break
      sleep 0.5
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  if [ -n "$body" ]; then
    rm -f "$body"
  fi
  exit "$status"
}
trap finish EXIT
trap 'say "stopping"; exit 0' INT TERM
trap 'exit 129' HUP

# --- where things listen --------------------------------------------------------------------------------------------

port_of() { printf '%s\n' "${1##*:}"; }

# The address to call for an address to listen on.
reachable() {
  case $1 in
    0.0.0.0:*) echo "127.0.0.1:$(port_of "$1")" ;;
    '[::]:'*) echo "[::1]:$(port_of "$1")" ;;
    *) echo "$1" ;;
  esac
}

# answers ADDRESS: whether somebody accepts connections there.
answers() {
  local host
  host=$(reachable "$1")
  host=${host%:*}
  host=${host#[}
  (exec 3<>"/dev/tcp/${host%]}/$(port_of "$1")") 2>/dev/null
}

listen=$(setting server listen 127.0.0.1:3000)
admin_listen=$(setting admin listen 127.0.0.1:9400)
base_domain=$(setting gateway base_domain localhost)
crm_listen=${CRM_LISTEN:-127.0.0.1:3100}
model_listen=${MODEL_LISTEN:-127.0.0.1:3101}
port=$(port_of "$listen")
platform=http://$(reachable "$listen")

if [ -n "${CRM_LISTEN:-}${MODEL_LISTEN:-}" ] && [ -z "${BUSINESSOS__GATEWAY__ROUTES:-}" ]; then
  crm_route="{prefix=\"/crm\",upstreams=[\"http://$crm_listen\"],strip_prefix=true,module=\"crm\"}"
  ai_route="{prefix=\"/ai\",upstreams=[\"http://$model_listen\"],strip_prefix=true,upstream_path=\"/v1\",module=\"ai\""
  ai_route+=",kind=\"openai\",meter=\"ai_tokens\",provider_secret=\"openai\",first_byte_timeout_ms=120000}"
  workflows_route="{prefix=\"/workflows\",upstreams=[\"http://$model_listen\"],module=\"workflows\",meter=\"workflow_runs\""
  workflows_route+=",usage_header=[\"ai_tokens\"],pauses_with=[\"ai_tokens\"],idempotency_key=true}"
  export BUSINESSOS__GATEWAY__ROUTES="[$crm_route,$ai_route,$workflows_route]"
fi

taken=()
remedies=()
require_free() { # require_free ADDRESS WHAT REMEDY
  if answers "$1"; then
    taken+=("$1 ($2)")
    remedies+=("$3")
  fi
}

# --- build and start ------------------------------------------------------------------------------------------------

require_free "$listen" server.listen "BUSINESSOS__SERVER__LISTEN=127.0.0.1:$((port + 1000))"
require_free "$admin_listen" admin.listen "BUSINESSOS__ADMIN__LISTEN=127.0.0.1:$(($(port_of "$admin_listen") + 1000))"
require_free "$crm_listen" 'example CRM' "CRM_LISTEN=127.0.0.1:$(($(port_of "$crm_listen") + 1000))"
require_free "$model_listen" 'example model' "MODEL_LISTEN=127.0.0.1:$(($(port_of "$model_listen") + 1000))"
if [ ${#taken[@]} -gt 0 ]; then
  die "in use by another program: $(IFS=,; printf '%s' "${taken[*]}" | sed 's/,/, /g').
Stop it (is another \`make run\` still going?), or take other ports:
    ${remedies[*]} make run"
fi

"$ROOT/scripts/setup.sh" run

profile=${BUSINESSOS_PROFILE:-dev}
claim_target_dir
say "building ($profile; the first time takes some minutes)"
cargo build --locked --profile "$profile" --bin businessos --example crm --example model
case $profile in
  dev) out=$CARGO_TARGET_DIR/debug ;;
  *) out=$CARGO_TARGET_DIR/$profile ;;
esac
businessos=$out/businessos

"$businessos" config check >/dev/null

# After the set-up, which may have made PostgreSQL's user.
data_dir=$(run_data_dir)
# For the other commands of the program, which must look where the server looks.
other_commands=$businessos
if [ "$data_dir" != "$(setting '' data_dir data)" ]; then
  say "PostgreSQL, which does not run as root, cannot get into $ROOT: the data goes to $data_dir"
  mkdir -p "$data_dir"
  # To pass through, not to look into.
  chmod 711 "$(dirname "$data_dir")" "$data_dir"
  export BUSINESSOS__DATA_DIR=$data_dir
  other_commands="BUSINESSOS__DATA_DIR=$data_dir $businessos"
fi

# Each in a process group of its own: Ctrl-C reaches this script alone, which then stops them in order.
start_in_background() {
  set -m
  "$@" </dev/null &
  set +m
}

say 'starting the server'
start_in_background "$businessos" serve
server_pid=$!

# ended WHAT CODE: hands on the code of a process that ended by itself (78: the configuration is wrong).
ended() {
  printf 'error: %s ended with exit code %s; its messages are above\n' "$1" "$2" >&2
  exit $(($2 == 0 ? 1 : $2))
}

# wait_until WHAT PID COMMAND...: until the command succeeds, unless the process ends or the time is up.
wait_until() {
  local what=$1 pid=$2 code=0 deadline=$((SECONDS + READY_TIMEOUT_S))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ! alive "$pid"; then
      wait "$pid" || code=$?
      ended "$what" "$code"
    fi
    [ "$SECONDS" -lt "$deadline" ] || die "$what was not ready within $READY_TIMEOUT_S s; its messages are above"
    sleep 0.1
  done
}
wait_until 'the server' "$server_pid" "$businessos" healthcheck

say 'starting the example CRM'
CRM_DATABASE_URL=$("$businessos" db-url crm_rw)
export CRM_DATABASE_URL
export CRM_PLATFORM_URL=${CRM_PLATFORM_URL:-$platform} CRM_LISTEN=$crm_listen
start_in_background "$out/examples/crm"
crm_pid=$!
wait_until 'the example CRM' "$crm_pid" answers "$crm_listen"

say 'starting the example model'
export MODEL_LISTEN=$model_listen
start_in_background "$out/examples/model"
model_pid=$!
wait_until 'the example model' "$model_pid" answers "$model_listen"

# --- the demo tenant ------------------------------------------------------------------------------------------------

body=$(mktemp)
status=$(curl -sS --noproxy '*' --max-time 30 -o "$body" -w '%{http_code}' -X POST "$platform/tenants/onboard" \
  -H 'Content-Type: application/json' -d "{
    \"name\": \"Acme GmbH\", \"subdomain\": \"$DEMO_SUBDOMAIN\",
    \"admin\": {\"email\": \"$DEMO_EMAIL\", \"password\": \"$DEMO_PASSWORD\"}}") || die 'the server does not answer'
case $status in
  201) tenant_note=created ;;
  409)
    grep -q 'subdomain-taken' "$body" || die "onboarding the demo tenant: 409 $(cat "$body")"
    tenant_note='already there'
    ;;
  *) die "onboarding the demo tenant: $status $(cat "$body")" ;;
esac

# A made-up key: the example model takes any. Only once: whoever has stored a real one since keeps it.
if [ "$tenant_note" = created ]; then
  printf 'sk-made-up' | "$businessos" secret put "$DEMO_SUBDOMAIN" openai >/dev/null || die 'the demo key cannot be stored'
fi

# --- what to try ----------------------------------------------------------------------------------------------------

# The commands are printed as they work on this machine: since 7.77 curl resolves *.localhost by itself, for older ones
# the tenant goes into a header; and a proxy in the environment would take even local requests.
curl='curl -s'
if [ -n "${http_proxy:-}${HTTP_PROXY:-}${all_proxy:-}${ALL_PROXY:-}" ]; then
  curl="curl -s --noproxy '*'"
fi
url=http://$DEMO_SUBDOMAIN.$base_domain:$port
if ! curl -sf --noproxy '*' --max-time 5 -o /dev/null "$url/healthz"; then
  url=$platform
  curl="$curl -H 'X-Tenant: $DEMO_SUBDOMAIN'"
fi

where="the data stays in $data_dir/"
if [ -n "$(setting database url '')" ]; then
  where="the data stays in the database of database.url, and its master key in $data_dir/"
fi

cat <<MESSAGE

  BusinessOS is running, with the example CRM and the example model behind it. Ctrl-C stops all; $where.

    tenant      $DEMO_SUBDOMAIN ($tenant_note)
    URL         http://$DEMO_SUBDOMAIN.$base_domain:$port
    API pages   http://localhost:$port/docs
    e-mail      $DEMO_EMAIL
    password    $DEMO_PASSWORD

  Sign in:
    TOKEN=\$($curl $url/auth/login -H 'Content-Type: application/json' -d '{"email":"$DEMO_EMAIL","password":"$DEMO_PASSWORD"}' | sed -E 's/.*"access_token":"([^"]+)".*/\\1/')

  Reach the CRM through the gateway, which tells it the tenant and the user:
    $curl $url/crm/contacts -H "Authorization: Bearer \$TOKEN" -H 'Content-Type: application/json' -d '{"name":"Ada Lovelace","email":"ada@example.com"}'
    $curl $url/crm/contacts -H "Authorization: Bearer \$TOKEN"

  Ask the model, and see what is counted and what is left (the demo tenant has a made-up key for it):
    $curl -i $url/ai/chat/completions -H "Authorization: Bearer \$TOKEN" -H 'Content-Type: application/json' -d '{"messages":[{"role":"user","content":"Hi"}],"max_tokens":2000}'
    $curl $url/billing/usage -H "Authorization: Bearer \$TOKEN"

  Run a workflow; at 10000 tokens these pause:
    $curl -i $url/workflows/runs -H "Authorization: Bearer \$TOKEN" -X POST

  Without a token the answer is 401:
    $curl -i $url/crm/contacts

  Make an operator of the platform (in another terminal, in $ROOT):
    $other_commands operator create --email you@example.com

MESSAGE

# --- until one of them ends -----------------------------------------------------------------------------------------

# Not `wait` for either: bash 3.2 cannot, and a trap runs only between commands.
while alive "$server_pid" && alive "$crm_pid" && alive "$model_pid"; do
  sleep 0.5
done
code=0
if alive "$server_pid" && alive "$crm_pid"; then
  wait "$model_pid" || code=$?
  model_pid=''
  ended 'the example model' "$code"
fi
if alive "$server_pid"; then
  wait "$crm_pid" || code=$?
  crm_pid=''
  ended 'the example CRM' "$code"
fi
wait "$server_pid" || code=$?
server_pid=''
[ "$code" = 0 ] || ended 'the server' "$code"
