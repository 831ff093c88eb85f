//! Signatures of webhooks: the header `Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX…]`, HMAC-SHA-256 over `SECONDS.BODY`
//! (<https://docs.stripe.com/webhooks/signature>).

use aws_lc_rs::hmac;

/// A signature is believed for so many seconds before and after the time that it names.
pub const TOLERANCE_S: i64 = 300;

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header is not of its form.
    #[error("the signature cannot be read")]
    Malformed,
    /// None of its signatures is of one of our secrets.
    #[error("the signature is of no secret of ours")]
    Wrong,
    /// It is of another time: perhaps a recording.
    #[error("the signature is too old or from the future")]
    Stale,
}

/// Whether `body` was signed with one of the `secrets` at about `now_s`. Every `v1` of the header is tried: while a secret is being
/// replaced there are two.
///
/// # Errors
/// [`SignatureError`].
pub fn verify(header: &str, body: &[u8], secrets: &[&[u8]], now_s: i64) -> Result<(), SignatureError> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) => time = Some(value),
            Some(("v1", value)) => signatures.push(hex::decode(value).map_err(|_not_hex| SignatureError::Malformed)?),
            // Other schemes are for other programs.
            Some(_) => {}
            None => return Err(SignatureError::Malformed),
        }
    }
    let time = time.ok_or(SignatureError::Malformed)?;
    let signed_at: i64 = time.parse().map_err(|_not_a_number| SignatureError::Malformed)?;
    if signatures.is_empty() {
        return Err(SignatureError::Malformed);
    }
    let signed = [time.as_bytes(), b".", body].concat();
    let is_ours = secrets.iter().any(|secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        signatures.iter().any(|signature| hmac::verify(&key, &signed, signature).is_ok())
    });
    if !is_ours {
        return Err(SignatureError::Wrong);
    }
    if now_s.abs_diff(signed_at) > TOLERANCE_S.unsigned_abs() {
        return Err(SignatureError::Stale);
    }
    Ok(())
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
