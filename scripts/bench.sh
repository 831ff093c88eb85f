#!/usr/bin/env bash
# Usage: scripts/bench.sh [ARGUMENT...]
#
# Builds the optimised program and measures it beside the alternatives on this machine, over loopback and bounded in
# time. Arguments go to bench/run.py, which says which there are.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$ROOT/scripts/setup.sh" bench
claim_target_dir
cargo build --locked --release --bins --examples
export BUSINESSOS_BIN_DIR=$CARGO_TARGET_DIR/release
exec python3 bench/run.py "$@"
