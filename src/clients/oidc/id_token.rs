//! What an ID token must be before anything in it is believed (OpenID Connect Core 1.0 §3.1.3.7).

use std::ops::Deref as _;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::core::{CoreIdTokenVerifier, CoreJwsSigningAlgorithm};
use openidconnect::{
    AccessToken, AccessTokenHash, ClaimsVerificationError, ClientId, IssuerUrl, Nonce, SignatureVerificationError,
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::exchange::Received;
use super::{Claims, KeySet, Registration};
use crate::domain::sso::LEEWAY_S;

/// A token that was just given out is not older than this, in seconds.
const MAX_AGE_S: i64 = 600;

/// Signatures that are believed: by keys of which only the provider has the private half. No `none`, and no HMAC.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// An ID token is not believed. The words are for the audit log and for admins; they are not the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// Signed by a key that is not among the provider's.
    #[error("it is signed with a key that the provider does not publish")]
    UnknownKey,
    /// Not signed, badly signed, or by an algorithm that is not believed.
    #[error("its signature is not valid")]
    Signature,
    /// Another provider's.
    #[error("it is another issuer's")]
    Issuer,
    /// For another client, or for others as well.
    #[error("it is for another client")]
    Audience,
    /// Of another sign-in.
    #[error("it belongs to another sign-in")]
    Nonce,
    /// Too old, or not good yet.
    #[error("it has run out, or is not valid yet: see the clocks of both sides")]
    Time,
    /// Not what the standard says.
    #[error("it cannot be read")]
    Malformed,
}

/// Looks at an ID token; what it says, if it is to be believed.
///
/// # Errors
/// [`IdTokenError`].
pub fn verify(
    received: &Received,
    keys: &KeySet,
    registration: &Registration,
    nonce: &str,
    now: DateTime<Utc>,
) -> Result<Claims, IdTokenError> {
    let leeway = TimeDelta::seconds(LEEWAY_S);
    let issuer = IssuerUrl::new(registration.issuer.clone()).map_err(|_malformed| IdTokenError::Issuer)?;
    let client_id = ClientId::new(registration.client_id.clone());
    // Not as a confidential client: the secret would be a key for HMAC.
    let verifier = CoreIdTokenVerifier::new_public_client(client_id, issuer, keys.clone())
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || now - leeway)
        .set_issue_time_verifier_fn(move |issued_at| {
            let is_now = issued_at <= now + leeway && issued_at >= now - TimeDelta::seconds(MAX_AGE_S);
            if is_now { Ok(()) } else { Err("issued at another time".to_owned()) }
        });
    let nonce = Nonce::new(nonce.to_owned());
    let claims = received.id_token.claims(&verifier, &nonce).map_err(|error| reason(&error))?;
    // §3.1.3.7 no. 5, which the library leaves to us.
    if claims.authorized_party().is_some_and(|party| party.deref() != &registration.client_id) {
        return Err(IdTokenError::Audience);
    }
    check_access_token(received, claims.access_token_hash(), &verifier)?;
    let all = payload(received).ok_or(IdTokenError::Malformed)?;
    if let Some(not_before) = all.get("nbf") {
        let not_before = not_before.as_f64().ok_or(IdTokenError::Malformed)?;
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
        let latest = (now + leeway).timestamp() as f64;
        if not_before > latest {
            return Err(IdTokenError::Time);
        }
    }
    Ok(Claims::new(all))
}

/// The access token that came with it is the one that it was signed for (§3.1.3.8).
fn check_access_token(
    received: &Received,
    expected: Option<&AccessTokenHash>,
    verifier: &CoreIdTokenVerifier<'_>,
) -> Result<(), IdTokenError> {
    let Some(expected) = expected else { return Ok(()) };
    let malformed = |_error| IdTokenError::Signature;
    let algorithm = received.id_token.signing_alg().map_err(malformed)?;
    let key = received.id_token.signing_key(verifier).map_err(malformed)?;
    let token = AccessToken::new(received.access_token.expose_secret().to_owned());
    let actual = AccessTokenHash::from_token(&token, algorithm, key).map_err(|_unknown| IdTokenError::Signature)?;
    if actual == *expected { Ok(()) } else { Err(IdTokenError::Signature) }
}

/// All claims, also those that the library has no field for. Only of a token that was verified.
fn payload(received: &Received) -> Option<Map<String, Value>> {
    let text = received.id_token.to_string();
    let payload = text.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn reason(error: &ClaimsVerificationError) -> IdTokenError {
    match error {
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
            IdTokenError::UnknownKey
        }
        ClaimsVerificationError::SignatureVerification(_) => IdTokenError::Signature,
        ClaimsVerificationError::InvalidIssuer(_) => IdTokenError::Issuer,
        ClaimsVerificationError::InvalidAudience(_) => IdTokenError::Audience,
        ClaimsVerificationError::InvalidNonce(_) => IdTokenError::Nonce,
        ClaimsVerificationError::Expired(_) | ClaimsVerificationError::InvalidAuthTime(_) => IdTokenError::Time,
        // The library may learn of more.
        _ => IdTokenError::Malformed,
    }
}
