#!/usr/bin/env bash
# Usage: scripts/test.sh [ARGUMENT...]
#
# Installs what the tests need if it is missing and runs every test: documentation examples first, then all the others
# with cargo-nextest if it is here (bounds in .config/nextest.toml), else with `cargo test`. Arguments go to that runner,
# for example: scripts/test.sh a_forged_tenant_header
# Exit code: the runner's own.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$ROOT/scripts/setup.sh" test
claim_target_dir

# Only when everything is to run: a filter names tests, not documentation examples.
if [ $# -eq 0 ]; then
  say 'documentation examples'
  cargo test --locked --quiet --doc
fi

if cargo nextest --version >/dev/null 2>&1; then
  say 'tests (cargo nextest)'
  exec cargo nextest run --locked "$@"
fi
say 'tests (cargo test; cargo-nextest would run them with a deadline for each)'
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-4}
exec cargo test --locked --no-fail-fast --lib --bins --tests --examples "$@"
