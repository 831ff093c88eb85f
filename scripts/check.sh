#!/usr/bin/env bash
# Usage: scripts/check.sh
#
# Everything that can be said about the code without running it, quickest first: format, lints, documentation, freshness
# of .sqlx/, licences and sources of the dependencies. Stops at the first complaint.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$ROOT/scripts/setup.sh" run

say 'format'
cargo fmt --all --check

say 'shell scripts'
for script in scripts/*.sh .ci/run; do
  bash -n "$script"
done
if have shellcheck; then
  shellcheck --external-sources --source-path=SCRIPTDIR scripts/*.sh .ci/run
fi

claim_target_dir
say 'lints'
cargo clippy --locked --all-targets -- -D warnings

say 'documentation'
RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items

say 'freshness of .sqlx/'
"$ROOT/scripts/sqlx-prepare.sh" --check

say 'licences, bans and sources of dependencies'
"$ROOT/scripts/cargo-deny.sh"

say 'all checks passed'
