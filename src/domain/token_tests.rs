use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_800_000_000;

struct Fixture {
    signing: SigningKey,
    keys: Vec<VerifyingKey>,
    claims: AccessClaims,
}

fn fixture() -> Fixture {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let pkcs8 = pair.to_pkcs8v1().expect("pkcs8");
    let point = pair.public_key().as_ref();
    let jwk = json!({"kty": "EC", "crv": "P-256",
        "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65])});
    Fixture {
        signing: SigningKey::from_pkcs8("k1", KeyAlgorithm::Es256, pkcs8.as_ref()),
        keys: vec![VerifyingKey::from_jwk("k1", KeyAlgorithm::Es256, jwk).expect("a jwk")],
        claims: AccessClaims {
            iss: "http://acme.localhost".into(),
            aud: "businessos".into(),
            sub: Uuid::from_u128(2).into(),
            tid: Uuid::from_u128(1).into(),
            sid: Uuid::from_u128(3).into(),
            jti: Uuid::from_u128(4),
            iat: NOW,
            nbf: NOW,
            exp: NOW + 300,
            auth_time: NOW,
            acr: "aal1".into(),
            amr: vec!["pwd".into()],
            roles: vec![Role::Owner],
            epoch: 1,
        },
    }
}

fn expected(now_s: i64) -> Expected<'static> {
    Expected { issuer: "http://acme.localhost", audience: "businessos", tenant: Uuid::from_u128(1).into(), now_s }
}

fn with_header(token: &str, header: &Value) -> String {
    let (_, rest) = token.split_once('.').expect("three parts");
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

#[test]
fn a_token_of_ours_is_believed_until_it_expires() {
    let f = fixture();
    let token = sign_access(&f.signing, &f.claims).expect("signed");
    assert_eq!(verify_access(&f.keys, &token, &expected(NOW)), Ok(f.claims.clone()));
    assert!(verify_access(&f.keys, &token, &expected(NOW + 304)).is_ok());
    assert_eq!(verify_access(&f.keys, &token, &expected(NOW + 305)), Err(TokenError::Expired));
    assert_eq!(verify_access(&f.keys, &token, &expected(NOW - 6)), Err(TokenError::NotYetValid));
}

#[test]
fn a_token_for_somebody_else_is_refused() {
    let f = fixture();
    let token = sign_access(&f.signing, &f.claims).expect("signed");
    for other in [
        Expected { issuer: "http://other.localhost", ..expected(NOW) },
        Expected { audience: "other", ..expected(NOW) },
        Expected { tenant: Uuid::from_u128(9).into(), ..expected(NOW) },
    ] {
        assert_eq!(verify_access(&f.keys, &token, &other), Err(TokenError::WrongAudience));
    }
}

#[test]
fn headers_hold_what_we_write_and_nothing_else() {
    let f = fixture();
    let token = sign_access(&f.signing, &f.claims).expect("signed");
    let good = json!({"alg": "ES256", "typ": "at+jwt", "kid": "k1"});
    let mutations: [(&str, Value, TokenError); 9] = [
        ("alg", json!("none"), TokenError::BadSignature),
        ("alg", json!("nOnE"), TokenError::BadSignature),
        ("alg", json!("HS256"), TokenError::BadSignature),
        ("alg", json!("EdDSA"), TokenError::BadSignature),
        ("typ", json!("JWT"), TokenError::Malformed),
        ("kid", json!("../../dev/null"), TokenError::UnknownKey),
        ("crit", json!(["exp"]), TokenError::Malformed),
        ("jwk", json!({"kty": "EC"}), TokenError::Malformed),
        ("b64", json!(false), TokenError::Malformed),
    ];
    for (name, value, error) in mutations {
        let mut header = good.clone();
        header[name] = value;
        let result = verify_access(&f.keys, &with_header(&token, &header), &expected(NOW));
        assert_eq!(result, Err(error), "{header}");
    }
}

#[test]
fn a_changed_payload_or_a_stripped_signature_is_refused() {
    let f = fixture();
    let token = sign_access(&f.signing, &f.claims).expect("signed");
    let parts: Vec<&str> = token.split('.').collect();
    let body = URL_SAFE_NO_PAD
        .encode(serde_json::to_vec(&AccessClaims { roles: vec![Role::Operator], ..f.claims }).expect("json"));
    for forged in [
        format!("{}.{body}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode([0u8; 64])),
        format!("{token}.x"),
        String::new(),
        ".".to_owned(),
        "x".repeat(1_000_000),
    ] {
        assert!(verify_access(&f.keys, &forged, &expected(NOW)).is_err(), "{}", &forged[..forged.len().min(80)]);
    }
}

#[test]
fn duplicated_claims_are_refused() {
    let f = fixture();
    let mut body = serde_json::to_string(&f.claims).expect("json");
    body.insert_str(1, "\"epoch\":99,");
    let raw: Box<serde_json::value::RawValue> = serde_json::value::RawValue::from_string(body).expect("json");
    let token = f.signing.sign(ACCESS_TYPE, &raw).expect("signed");
    assert_eq!(verify_access(&f.keys, &token, &expected(NOW)), Err(TokenError::Malformed));
}

#[test]
fn a_tenant_context_is_no_access_token() {
    let f = fixture();
    let token = f.signing.sign(CONTEXT_TYPE, &f.claims).expect("signed");
    assert_eq!(verify_access(&f.keys, &token, &expected(NOW)), Err(TokenError::Malformed));
}

#[test]
fn the_named_tenant_can_be_read_without_believing_it() {
    let f = fixture();
    let token = sign_access(&f.signing, &f.claims).expect("signed");
    assert_eq!(peek_tenant(&token), Some(f.claims.tid));
    assert_eq!(peek_tenant("a.b.c"), None);
}
