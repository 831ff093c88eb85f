//! Domain errors → problems, exhaustively. What went wrong inside is logged here, once, and not told.

use std::convert::Infallible;
use std::error::Error;

use super::{Problem, kinds};
use crate::actors::accounts::AccountError;
use crate::actors::ask::AskError;
use crate::actors::auth::{AuthError, HasherError};
use crate::actors::billing_meter::RecordUsageError;
use crate::actors::cron::RunJobError;
use crate::actors::onboarding::OnboardingError;
use crate::actors::scim::ScimFailure;
use crate::actors::secrets::KeysError;
use crate::actors::sessions::SessionStoreError;
use crate::actors::stripe::PaymentError;
use crate::actors::subscriptions::SubscribeError;
use crate::actors::tenant::{ReloadError, ResolveError};
use crate::clients::redis::RedisError;
use crate::db::DbError;
use crate::domain::scim::ScimError;
use crate::domain::token::TokenError;
use crate::domain::user_admin::UserAdminError;
use crate::http::challenge;

/// Seconds after which somebody turned away by a full queue may try again.
const RETRY_SOON_S: u64 = 1;

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        match &error {
            DbError::Busy => overloaded(&error),
            DbError::Unavailable(_)
            | DbError::Silent
            | DbError::Timeout(_)
            | DbError::GaveWay(_)
            | DbError::OutcomeUnknown(_) => unavailable(&error),
            DbError::BadValue(_) => Self::new(&kinds::MALFORMED_REQUEST, "a value cannot be stored"),
            DbError::Constraint { .. } | DbError::Corrupt(_) | DbError::Statement(_) => internal(&error),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::InvalidCredentials => {
                challenge::unauthorized(&kinds::INVALID_CREDENTIALS, "e-mail or password are wrong")
            }
            AuthError::InvalidRefreshToken => {
                challenge::unauthorized(&kinds::INVALID_REFRESH_TOKEN, "sign in again to get a new one")
            }
            AuthError::ExpiredSession => {
                challenge::unauthorized(&kinds::INVALID_REFRESH_TOKEN, "sign in again to get a new one").routine()
            }
            AuthError::UnknownSession => Self::new(&kinds::NOT_FOUND, "there is no such session"),
            AuthError::SessionRevoked => challenge::unauthorized(&kinds::SESSION_REVOKED, "sign in again"),
            AuthError::InvalidMfaToken => {
                challenge::unauthorized(&kinds::INVALID_MFA_TOKEN, "sign in with the password again")
            }
            AuthError::InvalidMfaCode => {
                challenge::unauthorized(&kinds::INVALID_MFA_CODE, "the code is wrong, too old, or was used before")
            }
            AuthError::TooManyCodes { retry_after_s } => {
                Self::new(&kinds::RATE_LIMITED, "too many wrong codes").retry_after(retry_after_s)
            }
            AuthError::MfaRequired => challenge::unauthorized(
                &kinds::MFA_REQUIRED,
                "the tenant asks for a second factor: sign in again and show or enrol one",
            ),
            AuthError::SsoRequired => Self::new(
                &kinds::SSO_REQUIRED,
                "sign in by your organisation's identity provider: GET /auth/sso?email= says where",
            ),
            AuthError::StepUp(wanted) => challenge::step_up(wanted),
            AuthError::NoSuchFactor => Self::new(&kinds::NOT_FOUND, "there is no such factor, or no enrolment waits"),
            AuthError::BreakGlass => Self::new(&kinds::CONFLICT, BREAK_GLASS),
            AuthError::InvalidPasskey => {
                challenge::unauthorized(&kinds::INVALID_PASSKEY, "begin again and use a passkey of this account")
            }
            AuthError::TooManyPasskeys => Self::new(&kinds::CONFLICT, "remove a passkey first: there are 20"),
            AuthError::Webauthn(error) => internal(&error),
            AuthError::Secrets(error) => error.into(),
            AuthError::CorruptSecret => internal(&AuthError::CorruptSecret),
            AuthError::Random => internal(&AuthError::Random),
            AuthError::Busy(HasherError::Overloaded) => overloaded(&HasherError::Overloaded),
            AuthError::Busy(HasherError::Failed) => internal(&HasherError::Failed),
            AuthError::Db(error) => error.into(),
            AuthError::Sessions(error) => error.into(),
            AuthError::Signing(error) => internal(&error),
            AuthError::TooManyAttempts { seconds } => {
                Self::new(&kinds::TOO_MANY_ATTEMPTS, "wait before the next attempt, or ask for a new password")
                    .retry_after(u64::try_from(seconds).unwrap_or(1))
            }
        }
    }
}

/// What keeps the last way in open.
const BREAK_GLASS: &str = "the tenant enforces its identity provider, and nobody else could sign in when that is away: give another \
                           owner a password and a second factor, or switch sso.enforced off";

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::InvalidLink => Self::new(&kinds::INVALID_LINK, "ask for a new link"),
            AccountError::NotFound => Self::new(&kinds::NOT_FOUND, "there is no such thing here"),
            AccountError::EmailTaken => Self::new(&kinds::EMAIL_TAKEN, "choose another address"),
            AccountError::BreakGlass => Self::new(&kinds::CONFLICT, BREAK_GLASS),
            AccountError::LastOwner => Self::new(&kinds::LAST_OWNER, "make somebody else an owner first"),
            AccountError::Deprovisioned => {
                Self::new(&kinds::CONFLICT, "the identity provider switched this user off: switch them on there")
            }
            AccountError::Conflict => Self::new(&kinds::CONFLICT, "somebody else is doing the same; try again"),
            AccountError::Admin(UserAdminError::OwnersOnly) => {
                Self::new(&kinds::FORBIDDEN, "only an owner may do this")
            }
            AccountError::Admin(error @ UserAdminError::PlatformOnly) => Self::invalid_field("/role", error),
            AccountError::TooMuchMail { retry_after_s } => {
                Self::new(&kinds::RATE_LIMITED, "too many invitations were sent lately").retry_after(retry_after_s)
            }
            AccountError::NewPassword(error) => Self::invalid_field("/password", error),
            AccountError::WrongPassword => Self::invalid_field("/current_password", "is wrong"),
            AccountError::Auth(error) => error.into(),
            AccountError::Busy(error) => AuthError::from(error).into(),
            AccountError::Sessions(error) => AuthError::from(error).into(),
            AccountError::Db(error) => error.into(),
        }
    }
}

impl From<SubscribeError> for Problem {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::UnknownPlan => Self::invalid_field("/plan", "is none of those in GET /billing/plans"),
            SubscribeError::UnknownModule(place) => {
                Self::invalid_field(format!("/modules/{place}"), "is none of those in GET /billing/plans")
            }
            SubscribeError::NeedlessModule(place) => {
                Self::invalid_field(format!("/modules/{place}"), "is there twice, or is a part of the plan")
            }
            SubscribeError::UnknownCoupon => Self::invalid_field("/coupon", "is not known"),
            SubscribeError::UsedCoupon => Self::invalid_field("/coupon", "was used before"),
            SubscribeError::Changed => Self::new(&kinds::CONFLICT, "the subscription was changed just now; look again"),
            SubscribeError::NothingToCancel => Self::new(&kinds::CONFLICT, "there is nothing that is paid for"),
            SubscribeError::Unpaid => Self::new(&kinds::PAYMENT_REQUIRED, "pay the overdue invoices first"),
            SubscribeError::Money(error) => internal(&error),
            SubscribeError::Db(error) => error.into(),
        }
    }
}

impl From<RunJobError> for Problem {
    fn from(error: RunJobError) -> Self {
        match error {
            RunJobError::Unknown => Self::new(&kinds::NOT_FOUND, "there is no such job"),
            RunJobError::Running => Self::new(&kinds::CONFLICT, "a run of it is alive"),
            RunJobError::Unavailable => unavailable(&error),
        }
    }
}

impl From<KeysError> for Problem {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Db(error) => error.into(),
            KeysError::Envelope(_) | KeysError::Missing(_) | KeysError::Generation => internal(&error),
        }
    }
}

impl From<SessionStoreError> for Problem {
    fn from(error: SessionStoreError) -> Self {
        match error {
            SessionStoreError::Db(error) => error.into(),
            SessionStoreError::Redis(RedisError::Busy) => overloaded(&RedisError::Busy),
            SessionStoreError::Redis(error @ RedisError::Unavailable(_)) => unavailable(&error),
            SessionStoreError::Redis(
                error @ (RedisError::Url(_) | RedisError::Refused(_) | RedisError::Corrupt(_)),
            ) => internal(&error),
        }
    }
}

impl From<OnboardingError> for Problem {
    fn from(error: OnboardingError) -> Self {
        match error {
            OnboardingError::SubdomainTaken => Self::new(&kinds::SUBDOMAIN_TAKEN, "choose another subdomain"),
            OnboardingError::Keys(error) => internal(&error),
            OnboardingError::Db(error) => error.into(),
        }
    }
}

impl From<ReloadError> for Problem {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::Gone => Self::new(&kinds::UNKNOWN_TENANT, "the tenant is gone"),
            ReloadError::Unavailable => unavailable(&error),
        }
    }
}

impl From<ResolveError> for Problem {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Unknown => Self::new(&kinds::UNKNOWN_TENANT, "no tenant has this name"),
            ResolveError::Unavailable => unavailable(&error),
        }
    }
}

impl From<RecordUsageError> for Problem {
    fn from(error: RecordUsageError) -> Self {
        match error {
            RecordUsageError::Overloaded => overloaded(&error),
            RecordUsageError::Unavailable => unavailable(&error),
            RecordUsageError::Gone => Self::new(&kinds::UNKNOWN_TENANT, "the tenant is gone"),
            RecordUsageError::Failed | RecordUsageError::Broken => internal(&error),
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let detail = match error {
            TokenError::Expired => "the token has expired",
            TokenError::Revoked => "the token was revoked",
            TokenError::Malformed
            | TokenError::UnknownKey
            | TokenError::BadSignature
            | TokenError::WrongAudience
            | TokenError::NotYetValid => "the token is not valid here",
        };
        let problem = challenge::unauthorized(&kinds::INVALID_TOKEN, detail);
        if error == TokenError::Expired { problem.routine() } else { problem }
    }
}

impl From<ScimError> for Problem {
    fn from(error: ScimError) -> Self {
        let ScimError { status, scim_type, detail } = error;
        let kind = match status {
            403 => &kinds::FORBIDDEN,
            404 => &kinds::NOT_FOUND,
            409 => &kinds::CONFLICT,
            412 => &kinds::PRECONDITION_FAILED,
            413 => &kinds::PAYLOAD_TOO_LARGE,
            501 => &kinds::NOT_IMPLEMENTED,
            _ => &kinds::MALFORMED_REQUEST,
        };
        Self::new(kind, detail).scim_type(scim_type)
    }
}

impl From<ScimFailure> for Problem {
    fn from(error: ScimFailure) -> Self {
        match error {
            ScimFailure::Refused(error) => error.into(),
            ScimFailure::Sessions(error) => AuthError::from(error).into(),
            ScimFailure::Db(error) => error.into(),
        }
    }
}

impl From<Infallible> for Problem {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl<E: Error + 'static> From<AskError<E>> for Problem
where
    Self: From<E>,
{
    fn from(error: AskError<E>) -> Self {
        match error {
            AskError::Refused(refusal) => refusal.into(),
            AskError::Overloaded => overloaded(&AskError::<Infallible>::Overloaded),
            AskError::TimedOut => unavailable(&AskError::<Infallible>::TimedOut),
            AskError::Unavailable => unavailable(&AskError::<Infallible>::Unavailable),
        }
    }
}

impl From<PaymentError> for Problem {
    fn from(error: PaymentError) -> Self {
        match error {
            PaymentError::Db(error) => error.into(),
            PaymentError::Unsettled(_) | PaymentError::Locked => unavailable(&error),
            PaymentError::Refused { ref code, .. } => {
                let detail = format!("the payment provider refused ({code})");
                tracing::warn!(error = &error as &dyn Error, "Stripe refused");
                Self::new(&kinds::CONFLICT, detail)
            }
            PaymentError::CheckoutCompleted => {
                Self::new(&kinds::CONFLICT, "a checkout has just been paid; its subscription begins in a moment")
            }
            PaymentError::Subscribe(error) => error.into(),
            PaymentError::Close(_)
            | PaymentError::Money(_)
            | PaymentError::KeyTaken(_)
            | PaymentError::Malformed(_)
            | PaymentError::PriceDiffers(_)
            | PaymentError::SumsDiffer { .. } => internal(&error),
        }
    }
}

fn overloaded(error: &(dyn Error + 'static)) -> Problem {
    tracing::debug!(error, "refused because of load");
    Problem::new(&kinds::OVERLOADED, "too much at once; try again soon").retry_after(RETRY_SOON_S)
}

fn unavailable(error: &(dyn Error + 'static)) -> Problem {
    tracing::warn!(error, "a part of the platform is not available");
    Problem::new(&kinds::UNAVAILABLE, "a part of the platform is not available; try again soon")
        .retry_after(RETRY_SOON_S)
}

fn internal(error: &(dyn Error + 'static)) -> Problem {
    tracing::error!(error, "a request failed on a bug");
    Problem::new(&kinds::INTERNAL, "quote the request id to support")
}
