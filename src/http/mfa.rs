//! Second factors: `/auth/mfa`.

mod assert;
mod enrol;
mod passkeys;
mod verify;

use std::time::Duration;

pub(super) use assert::{
    __path_begin_login, __path_challenge_passkey, __path_finish_login, __path_verify_passkey, begin_login,
    challenge_passkey, finish_login, verify_passkey,
};
pub(super) use enrol::{
    __path_begin_totp, __path_confirm_totp, __path_remove_totp, __path_renew_recovery_codes, begin_totp, confirm_totp,
    remove_totp, renew_recovery_codes,
};
pub(super) use passkeys::{
    __path_begin_passkey, __path_finish_passkey, __path_list_passkeys, __path_remove_passkey, begin_passkey,
    finish_passkey, list_passkeys, remove_passkey,
};
pub(super) use verify::{__path_verify, verify};

use actix_web::HttpRequest;
use secrecy::SecretString;

use super::extract::{AnyUser, Principal, TenantScope};
use super::problem::Problem;
use crate::actors::auth::{Enroller, SignedInUser};

/// Longest wait for anything about factors.
const DEADLINE: Duration = Duration::from_secs(5);

/// The caller as the auth actor knows them.
pub(super) fn signed_in(user: &Principal) -> SignedInUser {
    let claims = &user.token.claims;
    SignedInUser { user: claims.sub, session: claims.sid, acr: claims.acr.clone(), auth_time_s: claims.auth_time }
}

/// Who enrols: the sign-in that a token in the body continues, else the user of the access token.
async fn enroller(
    request: &HttpRequest,
    scope: TenantScope,
    mfa_token: Option<SecretString>,
) -> Result<(TenantScope, Enroller), Problem> {
    use actix_web::FromRequest as _;
    match mfa_token {
        Some(mfa_token) => Ok((scope, Enroller::Waiting(mfa_token))),
        None => {
            let AnyUser(user) = AnyUser::extract(request).await?;
            let by = signed_in(&user);
            Ok((user.scope, Enroller::SignedIn(by)))
        }
    }
}
