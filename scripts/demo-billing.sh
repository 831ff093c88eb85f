#!/usr/bin/env bash
# Usage: scripts/demo-billing.sh [DIRECTORY]
#
# Shows a month of billing in a minute, offline: a tenant subscribes, pays on a page of Stripe's, uses more than its plan includes, the
# month ends by Stripe's test clock, and the invoice is collected and mailed with its PDF. The server and PostgreSQL are real and its
# own; Stripe is the stand-in of examples/stripe_fake, which is checked against Stripe's own types and is no part of the program.
# Leaves the mails and the PDFs in DIRECTORY (a new one if left out). Fails if anything is not as it says.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

directory=${1:-$(mktemp -d)}
mkdir -p "$directory"
"$ROOT/scripts/setup.sh" run
say 'building the server and the stand-in for Stripe'
cargo build --locked --quiet --bin businessos --example stripe_fake
exec python3 "$ROOT/scripts/demo_billing.py" "$CARGO_TARGET_DIR/debug/businessos" \
  "$CARGO_TARGET_DIR/debug/examples/stripe_fake" "$directory"
