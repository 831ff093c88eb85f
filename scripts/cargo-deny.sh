#!/usr/bin/env bash
# Usage: scripts/cargo-deny.sh
#
# Checks licences, bans and sources of the dependencies against deny.toml, with the version of cargo-deny below, which
# is built into the cache once (some minutes) if this machine does not have it.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VERSION=0.20.2

is_right_version() { [ "$("$1" --version 2>/dev/null)" = "cargo-deny $VERSION" ]; }

tool=$BUSINESSOS_CACHE/tools/bin/cargo-deny
if have cargo-deny && is_right_version cargo-deny; then
  tool=cargo-deny
elif ! is_right_version "$tool"; then
  say "building cargo-deny $VERSION, once"
  # A tool that runs for two seconds need not be optimised; this halves the time it takes to build.
  CARGO_TARGET_DIR=$BUSINESSOS_CACHE/tools-target CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
    cargo install cargo-deny --version "$VERSION" --locked --force --root "$BUSINESSOS_CACHE/tools"
  rm -rf "$BUSINESSOS_CACHE/tools-target"
fi

# It reads the manifests of every crate in Cargo.lock, those of other systems too, which a build here never downloads.
cargo fetch --quiet --locked

# Not `advisories`: that fetches the advisory database from the internet on each run, which must not decide whether a
# commit passes; CI machines may have no more than a package registry. By hand: cargo deny check advisories
exec "$tool" --locked --offline check --hide-inclusion-graph bans licenses sources
