//! The cookie that ties a sign-in to the browser that began it.

use actix_web::HttpRequest;
use actix_web::http::header::{COOKIE, HeaderValue};

use crate::actors::sso::SsoError;
use crate::clients::kms::{self, MasterKeyError};
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// How long it lives, in seconds: longer than any flow.
const MAX_AGE_S: u32 = 3_600;
/// 256 random bits in hex.
const LENGTH: usize = 64;

/// Its name. With `__Host-`, browsers take it from this very host alone, by TLS (RFC 6265bis §4.1.3.2), so that no neighbour can plant
/// one; without TLS, in development, they would not take that.
fn name(state: &AppState) -> &'static str {
    if state.settings.gateway.public_scheme == "https" { "__Host-bos_sso" } else { "bos_sso" }
}

/// What the request's cookie says, if it has one of ours. Of two, which a neighbour could bring about, neither is believed.
pub(super) fn of(request: &HttpRequest, state: &AppState) -> Option<String> {
    let name = name(state);
    let cookies = request.headers().get_all(COOKIE).filter_map(|value| value.to_str().ok());
    let mut ours = cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    let value = ours.next()?;
    let is_ours = value.len() == LENGTH && value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (is_ours && ours.next().is_none()).then(|| value.to_owned())
}

/// What the request's cookie says, or something new.
pub(super) fn of_or_new(request: &HttpRequest, state: &AppState) -> Result<String, Problem> {
    if let Some(known) = of(request, state) {
        return Ok(known);
    }
    let random: [u8; LENGTH / 2] = kms::random().map_err(|_random: MasterKeyError| Problem::from(SsoError::Random))?;
    Ok(hex::encode(random))
}

/// `Set-Cookie`: for this host alone, unseen by scripts, and sent when another site sends the browser back by a link, not with its
/// forms and images.
pub(super) fn set(state: &AppState, value: &str) -> Result<HeaderValue, Problem> {
    let name = name(state);
    let secure = if name.starts_with("__Host-") { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; Max-Age={MAX_AGE_S}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&cookie).map_err(|_hex_is_text| Problem::from(SsoError::Random))
}
