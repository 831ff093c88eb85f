#!/usr/bin/env bash
# Usage: scripts/saml-fuzz.sh [SECONDS]
#
# Changes genuine SAML responses and metadata at random for so many seconds (default: 300): nothing may panic, and nothing may be
# believed that its provider did not sign. By libFuzzer, which follows what the changes reach; its finds stay in fuzz/artifacts. The same
# changes without that are in `make test` (tests/saml/mutations.rs).

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VERSION=0.13.2
seconds=${1:-300}
"$ROOT/scripts/setup.sh" test
PATH="$PATH:$BUSINESSOS_CACHE/tools/bin"

if ! have cargo-fuzz; then
  say "building cargo-fuzz $VERSION, once"
  CARGO_TARGET_DIR=$BUSINESSOS_CACHE/tools-target CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
    cargo install cargo-fuzz --version "$VERSION" --locked --root "$BUSINESSOS_CACHE/tools"
  rm -rf "$BUSINESSOS_CACHE/tools-target"
fi
# Instrumented builds need options that only nightly compilers take, or this one when it is told to.
export RUSTC_BOOTSTRAP=1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SAML_FUZZ_CORPUS=$work/corpus.jsonl SAML_FUZZ_KEY=$work/sp.key SAML_FUZZ_CERTIFICATE=$work/sp.crt
python=$BUSINESSOS_CACHE/saml-venv/bin/python
"$python" - "$SAML_FUZZ_KEY" "$SAML_FUZZ_CERTIFICATE" <<'EOF'
import datetime, sys
sys.path.insert(0, "tests/saml")
from cryptography.hazmat.primitives import serialization
from idp import Signer

key, certificate = sys.argv[1:]
signer = Signer(datetime.datetime(2026, 11, 22, tzinfo=datetime.timezone.utc))
private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
open(key, "wb").write(signer.key.private_bytes(*private))
open(certificate, "w").write(signer.pem())
EOF
"$python" tests/saml/corpus.py --acs https://app.example/sso/callback/saml/1 --sp-entity https://app.example/saml/1 \
  --idp-entity https://idp.example/metadata --request-id _r1 --now 2026-11-22T12:00:00Z \
  --sp-certificate "$SAML_FUZZ_CERTIFICATE" --sp-key "$SAML_FUZZ_KEY" >"$SAML_FUZZ_CORPUS" 2>/dev/null
mkdir -p "$work/saml_response" "$work/saml_metadata"
"$python" - "$SAML_FUZZ_CORPUS" "$work" <<'EOF'
import base64, json, sys

corpus, work = sys.argv[1:]
lines = [json.loads(line) for line in open(corpus)]
open(f"{work}/saml_metadata/0", "w").write(lines[0]["metadata"])
for number, case in enumerate(lines[1:]):
    try:
        content = base64.b64decode("".join(case["response_base64"].split()), validate=True)
    except ValueError:
        continue
    if len(content) < 30_000:
        open(f"{work}/saml_response/{number}", "wb").write(content)
EOF

export CARGO_TARGET_DIR=$BUSINESSOS_CACHE/fuzz-target
unset RUSTFLAGS
status=0
for target in saml_response saml_metadata; do
  say "$target: $seconds seconds"
  # No sanitizer: the code under test has no unsafe blocks, and without one it is several times faster.
  cargo fuzz run --sanitizer none "$target" "$work/$target" -- \
    -max_total_time="$seconds" -max_len=40000 -timeout=10 -print_final_stats=1 -verbosity=0 || status=1
done
exit "$status"
