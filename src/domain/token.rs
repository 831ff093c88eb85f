//! Access tokens (RFC 9068) and the tenant context that services receive: what they say and when they are believed.
//!
//! Verification is stricter than a general library's: the header may hold `alg`, `typ` and `kid` and nothing else (so
//! `crit`, `jwk`, `jku`, `x5c` or `b64` die at once), the key decides the algorithm, and every time is checked here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::audit_seal::CheckpointClaims;
use super::identity::Role;
use super::ids::{ApiKeyId, SessionId, TenantId, UserId};

/// `typ` of access tokens.
const ACCESS_TYPE: &str = "at+jwt";
/// `typ` of the tenant context.
const CONTEXT_TYPE: &str = "tenant-context+jwt";
/// `typ` of signed checkpoints of the audit log.
const CHECKPOINT_TYPE: &str = "audit-checkpoint+jwt";
/// Clocks may differ by so many seconds.
pub const LEEWAY_S: i64 = 5;
/// Longer tokens are not looked at.
const MAX_TOKEN_BYTES: usize = 8_192;
/// Life of a tenant context, in seconds.
pub const CONTEXT_TTL_S: i64 = 60;

/// Why a token is not believed. Clients only learn "invalid" or "expired".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of ours at all.
    #[error("malformed token")]
    Malformed,
    /// Signed by a key that this tenant does not have.
    #[error("unknown signing key")]
    UnknownKey,
    /// The signature does not match.
    #[error("bad signature")]
    BadSignature,
    /// Issuer, audience or tenant are others.
    #[error("token for somebody else")]
    WrongAudience,
    /// Before its time.
    #[error("token not valid yet")]
    NotYetValid,
    /// After its time.
    #[error("token expired")]
    Expired,
    /// Its session ended, or the tenant's epoch moved on.
    #[error("token revoked")]
    Revoked,
}

/// Signature algorithms that tenants' keys use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
    Es256,
    /// Ed25519 (RFC 8037 §3.1).
    EdDsa,
}

impl KeyAlgorithm {
    /// Its name in JOSE headers and the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm that a name means.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Es256, Self::EdDsa].into_iter().find(|algorithm| algorithm.as_str() == text)
    }

    fn jose(self) -> Algorithm {
        match self {
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// The private half of a tenant's key.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    algorithm: KeyAlgorithm,
    key: EncodingKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

impl SigningKey {
    /// A key from its PKCS#8 form.
    #[must_use]
    pub fn from_pkcs8(kid: &str, algorithm: KeyAlgorithm, pkcs8: &[u8]) -> Self {
        let key = match algorithm {
            KeyAlgorithm::Es256 => EncodingKey::from_ec_der(pkcs8),
            KeyAlgorithm::EdDsa => EncodingKey::from_ed_der(pkcs8),
        };
        Self { kid: kid.to_owned(), algorithm, key }
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, TokenError> {
        let mut header = Header::new(self.algorithm.jose());
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key)
            .map_err(|_key: jsonwebtoken::errors::Error| TokenError::UnknownKey)
    }
}

/// The public half of a tenant's key.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: String,
    algorithm: KeyAlgorithm,
    key: DecodingKey,
    jwk: serde_json::Value,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({})", self.kid)
    }
}

impl VerifyingKey {
    /// A key from its bare JWK (`kty`, `crv`, `x`, `y`).
    ///
    /// # Errors
    /// [`TokenError::UnknownKey`] if the JWK is not a key of that algorithm.
    pub fn from_jwk(kid: &str, algorithm: KeyAlgorithm, mut jwk: serde_json::Value) -> Result<Self, TokenError> {
        let field = |name: &str| jwk.get(name).and_then(serde_json::Value::as_str).ok_or(TokenError::UnknownKey);
        let key = match algorithm {
            KeyAlgorithm::Es256 => DecodingKey::from_ec_components(field("x")?, field("y")?),
            KeyAlgorithm::EdDsa => DecodingKey::from_ed_components(field("x")?),
        }
        .map_err(|_jwk: jsonwebtoken::errors::Error| TokenError::UnknownKey)?;
        if let Some(object) = jwk.as_object_mut() {
            for (name, value) in [("kid", kid), ("use", "sig"), ("alg", algorithm.as_str())] {
                object.insert(name.to_owned(), value.into());
            }
        }
        Ok(Self { kid: kid.to_owned(), algorithm, key, jwk })
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key as published in the tenant's JWKS (RFC 7517).
    #[must_use]
    pub fn jwk(&self) -> &serde_json::Value {
        &self.jwk
    }
}

/// What an access token says (RFC 9068 §2.2 and our own `tid`, `sid`, `epoch`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// Issuer: the tenant's own URL.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// The user.
    pub sub: UserId,
    /// The tenant.
    pub tid: TenantId,
    /// The session.
    pub sid: SessionId,
    /// Id of this token.
    pub jti: Uuid,
    /// Issued at, in seconds since 1970.
    pub iat: i64,
    /// Not before.
    pub nbf: i64,
    /// Not after.
    pub exp: i64,
    /// When the user proved who they are.
    pub auth_time: i64,
    /// How strongly: `aal1` or `aal2`.
    pub acr: String,
    /// By what means (RFC 8176).
    pub amr: Vec<String>,
    /// The user's roles.
    pub roles: Vec<Role>,
    /// The tenant's epoch at issue.
    pub epoch: i64,
}

/// What a service may believe of a request because the platform signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextClaims {
    /// Issuer: the tenant's own URL.
    pub iss: String,
    /// Audience: the prefix of the route that the request took.
    pub aud: String,
    /// The tenant.
    pub tid: TenantId,
    /// The tenant's subdomain.
    pub slug: String,
    /// The tenant's plan.
    pub plan: String,
    /// The user, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<UserId>,
    /// The user's roles.
    pub roles: Vec<Role>,
    /// How strongly the user proved who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// The API key, if a program calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ApiKeyId>,
    /// What the API key may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Issued at.
    pub iat: i64,
    /// Not after: a minute later.
    pub exp: i64,
    /// The request, on routes that ask for it (`bind_request_id`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

/// Signs an access token.
///
/// # Errors
/// [`TokenError::UnknownKey`] if the key cannot sign.
pub fn sign_access(key: &SigningKey, claims: &AccessClaims) -> Result<String, TokenError> {
    key.sign(ACCESS_TYPE, claims)
}

/// Signs a tenant context.
///
/// # Errors
/// [`TokenError::UnknownKey`] if the key cannot sign.
pub fn sign_context(key: &SigningKey, claims: &ContextClaims) -> Result<String, TokenError> {
    key.sign(CONTEXT_TYPE, claims)
}

/// Signs a checkpoint of the audit log.
///
/// # Errors
/// [`TokenError::UnknownKey`] if the key cannot sign.
pub fn sign_checkpoint(key: &SigningKey, claims: &CheckpointClaims) -> Result<String, TokenError> {
    key.sign(CHECKPOINT_TYPE, claims)
}

/// What a signed checkpoint says, checked with the public key that is kept with it.
///
/// # Errors
/// [`TokenError`]: not a key, or not signed with it as a checkpoint.
pub fn verify_checkpoint(jwk: &serde_json::Value, jws: &str) -> Result<CheckpointClaims, TokenError> {
    let field = |name: &str| jwk.get(name).and_then(serde_json::Value::as_str).ok_or(TokenError::UnknownKey);
    let algorithm = KeyAlgorithm::parse(field("alg")?).ok_or(TokenError::UnknownKey)?;
    let key = VerifyingKey::from_jwk(field("kid")?, algorithm, jwk.clone())?;
    let token = jsonwebtoken::decode::<CheckpointClaims>(jws, &key.key, &signature_only(algorithm))
        .map_err(|_any: jsonwebtoken::errors::Error| TokenError::BadSignature)?;
    if token.header.typ.as_deref() == Some(CHECKPOINT_TYPE) { Ok(token.claims) } else { Err(TokenError::Malformed) }
}

/// What a token must say to be believed.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The tenant's own URL.
    pub issuer: &'a str,
    /// The platform's audience.
    pub audience: &'a str,
    /// The tenant of the request.
    pub tenant: TenantId,
    /// Seconds since 1970.
    pub now_s: i64,
}

/// Verifies an access token against one tenant's keys. Revocation is the caller's: it changes after the signature was checked.
///
/// # Errors
/// [`TokenError`], the first that applies.
pub fn verify_access(keys: &[VerifyingKey], token: &str, expected: &Expected<'_>) -> Result<AccessClaims, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Malformed);
    }
    let (head, _) = token.split_once('.').ok_or(TokenError::Malformed)?;
    let head = URL_SAFE_NO_PAD.decode(head).map_err(|_encoding: base64::DecodeError| TokenError::Malformed)?;
    let header: StrictHeader<'_> =
        serde_json::from_slice(&head).map_err(|_json: serde_json::Error| TokenError::Malformed)?;
    if header.typ != ACCESS_TYPE {
        return Err(TokenError::Malformed);
    }
    let key = keys.iter().find(|key| key.kid == header.kid).ok_or(TokenError::UnknownKey)?;
    if header.alg != key.algorithm.as_str() {
        return Err(TokenError::BadSignature);
    }
    let claims = jsonwebtoken::decode::<AccessClaims>(token, &key.key, &signature_only(key.algorithm))
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::BadSignature,
            _ => TokenError::Malformed,
        })?
        .claims;
    check_claims(&claims, expected)?;
    Ok(claims)
}

/// The library checks the signature; everything else is checked here, against the caller's clock.
fn signature_only(algorithm: KeyAlgorithm) -> Validation {
    let mut validation = Validation::new(algorithm.jose());
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

fn check_claims(claims: &AccessClaims, expected: &Expected<'_>) -> Result<(), TokenError> {
    if claims.tid != expected.tenant || claims.iss != expected.issuer || claims.aud != expected.audience {
        return Err(TokenError::WrongAudience);
    }
    if claims.nbf > expected.now_s + LEEWAY_S {
        return Err(TokenError::NotYetValid);
    }
    check_expiry(claims, expected.now_s)
}

/// Whether the token has not run out yet; also asked of remembered tokens.
///
/// # Errors
/// [`TokenError::Expired`].
pub fn check_expiry(claims: &AccessClaims, now_s: i64) -> Result<(), TokenError> {
    if claims.exp + LEEWAY_S <= now_s { Err(TokenError::Expired) } else { Ok(()) }
}

/// The tenant that an unverified token names, to tell "another tenant's token" (403) from "no valid token" (401).
#[must_use]
pub fn peek_tenant(token: &str) -> Option<TenantId> {
    #[derive(Deserialize)]
    struct Tenant {
        tid: TenantId,
    }
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let body = token.split('.').nth(1)?;
    let body = URL_SAFE_NO_PAD.decode(body).ok()?;
    serde_json::from_slice::<Tenant>(&body).ok().map(|claims| claims.tid)
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
