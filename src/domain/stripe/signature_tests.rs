//! The signatures are made here by hand, so that the check is not its own judge.

use super::*;

const BODY: &[u8] = br#"{"id":"evt_1"}"#;

fn v1(secret: &str, time: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex::encode(hmac::sign(&key, &[time.as_bytes(), b".", body].concat()))
}

fn check(header: &str, secrets: &[&str], now_s: i64) -> Result<(), SignatureError> {
    let secrets: Vec<&[u8]> = secrets.iter().map(|secret| secret.as_bytes()).collect();
    verify(header, BODY, &secrets, now_s)
}

#[test]
fn a_known_vector_is_believed() {
    // printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
    let header = "t=1700000000,v1=c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925";
    assert_eq!(check(header, &["whsec_test"], 1_700_000_000), Ok(()));
}

#[test]
fn any_of_the_signatures_and_any_of_the_secrets_will_do() {
    let header = format!("t=100,v1={},v1={},v0=zz", v1("old", "100", BODY), v1("new", "100", BODY));
    for secrets in [&["old"][..], &["new"], &["other", "new"]] {
        assert_eq!(check(&header, secrets, 100), Ok(()), "{secrets:?}");
    }
    assert_eq!(check(&header, &["other"], 100), Err(SignatureError::Wrong));
    assert_eq!(check(&header, &[], 100), Err(SignatureError::Wrong));
}

#[test]
fn another_body_or_time_is_not_what_was_signed() {
    let header = format!("t=100,v1={}", v1("s", "100", b"{}"));
    assert_eq!(check(&header, &["s"], 100), Err(SignatureError::Wrong));
    let header = format!("t=101,v1={}", v1("s", "100", BODY));
    assert_eq!(check(&header, &["s"], 100), Err(SignatureError::Wrong));
}

#[test]
fn five_minutes_either_way_are_believed_and_no_more() {
    let header = format!("t=1000,v1={}", v1("s", "1000", BODY));
    for (now_s, expected) in
        [(700, Ok(())), (1300, Ok(())), (699, Err(SignatureError::Stale)), (1301, Err(SignatureError::Stale))]
    {
        assert_eq!(check(&header, &["s"], now_s), expected, "{now_s}");
    }
}

#[test]
fn what_is_no_signature_is_refused() {
    for header in ["", "t=1", "v1=00", "t=x,v1=00", "t=1,v1=xyz", "nonsense", "t=99999999999999999999,v1=00"] {
        assert_eq!(check(header, &["s"], 1), Err(SignatureError::Malformed), "{header}");
    }
}
