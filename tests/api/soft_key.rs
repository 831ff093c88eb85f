//! A passkey in software: ES256, discoverable, verifies its user (WebAuthn Level 3, §6).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// User present, user verified.
const PRESENT_AND_VERIFIED: u8 = 0b0000_0101;
const PRESENT: u8 = 0b0000_0001;
/// Credential data attached.
const ATTACHED: u8 = 0b0100_0000;

/// One key on one device.
pub struct SoftKey {
    pair: EcdsaKeyPair,
    id: [u8; 16],
    user_handle: Vec<u8>,
    pub origin: String,
    pub counter: u32,
    pub verifies_user: bool,
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec()
}

/// A CBOR byte string (RFC 8949 §3.1).
fn cbor_bytes(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0x59], length.as_slice(), bytes].concat()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl SoftKey {
    pub fn new(origin: &str) -> Self {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).unwrap();
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self { pair, id, user_handle: Vec::new(), origin: origin.to_owned(), counter: 0, verifies_user: true }
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let challenge = &options["challenge"];
        json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false })
            .to_string()
            .into_bytes()
    }

    fn authenticator_data(&mut self, rp_id: &str, flags: u8) -> Vec<u8> {
        self.counter += 1;
        let flags = flags | if self.verifies_user { PRESENT_AND_VERIFIED } else { PRESENT };
        [sha256(rp_id.as_bytes()), vec![flags], self.counter.to_be_bytes().to_vec()].concat()
    }

    /// `navigator.credentials.create`
    pub fn create(&mut self, options: &Value) -> Value {
        self.user_handle = URL_SAFE_NO_PAD.decode(options["user"]["id"].as_str().unwrap()).unwrap();
        let point = self.pair.public_key().as_ref().to_vec();
        // COSE_Key: kty EC2, alg ES256, crv P-256, x, y (RFC 9053 §7.1).
        let key = [
            [0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20].as_slice(),
            &point[1..33],
            &[0x22, 0x58, 0x20],
            &point[33..],
        ]
        .concat();
        let mut data = self.authenticator_data(options["rp"]["id"].as_str().unwrap(), ATTACHED);
        // No maker is named; then length and id of the credential.
        data.extend([[0; 16].as_slice(), &[0, 16], &self.id, &key].concat());
        let object = [b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData".to_vec(), cbor_bytes(&data)].concat();
        json!({
            "id": b64(self.id), "rawId": b64(self.id), "type": "public-key", "extensions": {},
            "response": {
                "attestationObject": b64(object),
                "clientDataJSON": b64(self.client_data("webauthn.create", options)),
            },
        })
    }

    /// `navigator.credentials.get`
    pub fn get(&mut self, options: &Value) -> Value {
        let client_data = self.client_data("webauthn.get", options);
        let data = self.authenticator_data(options["rpId"].as_str().unwrap(), 0);
        let signed = [data.clone(), sha256(&client_data)].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap();
        json!({
            "id": b64(self.id), "rawId": b64(self.id), "type": "public-key", "extensions": {},
            "response": {
                "authenticatorData": b64(data),
                "clientDataJSON": b64(client_data),
                "signature": b64(signature),
                "userHandle": b64(&self.user_handle),
            },
        })
    }
}
