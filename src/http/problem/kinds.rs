//! Every kind of problem that the platform answers with.

/// A kind of problem: stable for programs.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// HTTP status.
    pub status: u16,
    /// Name in `code` and at the end of `type`.
    pub code: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// Two letters for the access log; empty where the status says it all.
    pub flag: &'static str,
}

impl Kind {
    /// Whether somebody was refused for who they are, or for what they claimed to be. Wrong passwords, codes and passkeys are not among
    /// them: those have a row of their own, written with the attempt.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        const REFUSALS: &[Kind] = &[
            INVALID_TOKEN,
            INVALID_REFRESH_TOKEN,
            SESSION_REVOKED,
            INVALID_MFA_TOKEN,
            INVALID_LINK,
            MFA_REQUIRED,
            STEP_UP_REQUIRED,
            FORBIDDEN,
            INSUFFICIENT_SCOPE,
            TENANT_MISMATCH,
            TOO_MANY_ATTEMPTS,
        ];
        REFUSALS.contains(self)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:literal $code:literal $title:literal $flag:literal;)*) => {
        $($(#[$doc])* pub const $name: Kind = Kind { status: $status, code: $code, title: $title, flag: $flag };)*

        /// All kinds.
        pub const ALL: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    /// Not HTTP or not JSON as we read it.
    MALFORMED_REQUEST = 400 "malformed-request" "The request is malformed" "PE";
    /// A mailed link's token that is forged, used or past its time.
    INVALID_LINK = 400 "invalid-link" "The link is not valid (any more)" "";
    /// A sign-in by an identity provider that does not wait, or not for this browser.
    INVALID_SSO_STATE = 400 "invalid-sso-state" "The sign-in does not wait (any more)" "";
    /// A code of such a sign-in that is forged, used, past its time or another client's.
    INVALID_SSO_CODE = 400 "invalid-sso-code" "The code is not valid (any more)" "";
    /// No credential where one is needed.
    AUTHENTICATION_REQUIRED = 401 "authentication-required" "Authentication is required" "UA";
    /// A credential that is not believed.
    INVALID_TOKEN = 401 "invalid-token" "The access token is not valid" "UA";
    /// Wrong e-mail or password.
    INVALID_CREDENTIALS = 401 "invalid-credentials" "E-mail or password are wrong" "UA";
    /// Not a refresh token, or expired.
    INVALID_REFRESH_TOKEN = 401 "invalid-refresh-token" "The refresh token is not valid" "UA";
    /// Not the token of a sign-in that waits for a second factor.
    INVALID_MFA_TOKEN = 401 "invalid-mfa-token" "The sign-in does not wait (any more)" "UA";
    /// Wrong code, or used before.
    INVALID_MFA_CODE = 401 "invalid-mfa-code" "The code is wrong" "UA";
    /// Not the answer of a passkey that was asked for.
    INVALID_PASSKEY = 401 "invalid-passkey" "The passkey's answer is not valid" "UA";
    /// The tenant asks everybody for two factors.
    MFA_REQUIRED = 401 "mfa-required" "A second factor is required" "UA";
    /// The session was ended.
    SESSION_REVOKED = 401 "session-revoked" "The session has ended" "UA";
    /// RFC 9470: a stronger or fresher sign-in is needed.
    STEP_UP_REQUIRED = 401 "insufficient_user_authentication" "A stronger or fresher sign-in is needed" "UA";
    /// Invoices are overdue, and were for too long.
    PAYMENT_REQUIRED = 402 "payment-required" "Invoices are overdue" "PR";
    /// The tenant takes nobody who does not come by its identity provider.
    SSO_REQUIRED = 403 "sso-required" "Sign in by your organisation's identity provider" "UA";
    /// What the identity provider answered is not believed.
    SSO_FAILED = 403 "sso-failed" "The identity provider's answer is not valid" "UA";
    /// The identity provider did not let the person in.
    SSO_DECLINED = 403 "sso-declined" "The identity provider refused" "UA";
    /// The person is nobody here who may sign in.
    SSO_NOT_ADMITTED = 403 "sso-not-admitted" "This person may not sign in here" "UA";
    /// The person must link their account themselves.
    SSO_LINK_REQUIRED = 403 "sso-link-required" "This person is linked to no user here" "UA";
    /// The identity provider showed no second factor that counts.
    SSO_STEP_UP_FAILED = 403 "sso-step-up-failed" "The step-up at the identity provider does not count" "UA";
    /// Not allowed for this caller.
    FORBIDDEN = 403 "forbidden" "Not allowed" "";
    /// RFC 6750 §3.1: an API key without the scope, or where only users may call.
    INSUFFICIENT_SCOPE = 403 "insufficient-scope" "The API key does not permit this" "";
    /// Host, header and token name different tenants.
    TENANT_MISMATCH = 403 "tenant-mismatch" "Host, header and token name different tenants" "TM";
    /// The tenant is switched off.
    TENANT_SUSPENDED = 403 "tenant-suspended" "The tenant is suspended" "TS";
    /// The plan lacks the module.
    MODULE_NOT_INCLUDED = 403 "module-not-included" "The plan does not include this module" "";
    /// A page of another origin.
    ORIGIN_NOT_ALLOWED = 403 "origin-not-allowed" "Pages of this origin may not call" "";
    /// No such thing, or not the caller's.
    NOT_FOUND = 404 "not-found" "There is no such thing" "";
    /// No such tenant.
    UNKNOWN_TENANT = 404 "unknown-tenant" "There is no such tenant" "NT";
    /// No route.
    NO_ROUTE = 404 "no-route" "Nothing is served at this path" "NR";
    /// Another method is needed.
    METHOD_NOT_ALLOWED = 405 "method-not-allowed" "The method is not allowed here" "";
    /// The request did not arrive in time.
    REQUEST_TIMEOUT = 408 "request-timeout" "The request took too long" "DC";
    /// The address is another user's.
    EMAIL_TAKEN = 409 "email-taken" "Another user has this address" "";
    /// Somebody must be left who can do everything.
    LAST_OWNER = 409 "last-owner" "The last owner stays" "";
    /// The subdomain is somebody else's.
    SUBDOMAIN_TAKEN = 409 "subdomain-taken" "The subdomain is taken" "";
    /// Another tenant has proved the domain.
    DOMAIN_TAKEN = 409 "domain-taken" "Another tenant has this domain" "";
    /// The thing is not in a state for this.
    CONFLICT = 409 "conflict" "Not possible in the present state" "";
    /// `If-Match` names another version.
    PRECONDITION_FAILED = 412 "precondition-failed" "The thing was changed meanwhile" "";
    /// Too many bytes in the body.
    PAYLOAD_TOO_LARGE = 413 "payload-too-large" "The body is too large" "PE";
    /// Too many bytes in the target.
    URI_TOO_LONG = 414 "uri-too-long" "The request target is too long" "PE";
    /// Not JSON.
    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported-media-type" "The media type is not supported" "";
    /// An expectation other than 100-continue.
    EXPECTATION_FAILED = 417 "expectation-failed" "The expectation cannot be met" "PE";
    /// Fields are wrong.
    VALIDATION_FAILED = 422 "validation-failed" "Some fields are not valid" "";
    /// RFC 9110 §15.5.22: only a change of protocol is served here.
    UPGRADE_REQUIRED = 426 "upgrade-required" "A WebSocket handshake is required" "";
    /// `If-Match` is missing.
    PRECONDITION_REQUIRED = 428 "precondition-required" "If-Match is required" "";
    /// The tenant has not stored the key that a route needs for its provider. Not 409, which some clients of providers repeat by
    /// themselves.
    PROVIDER_KEY_MISSING = 424 "provider-key-missing" "The key for the provider is missing" "PK";
    /// Too many requests.
    RATE_LIMITED = 429 "rate-limited" "Too many requests" "RL";
    /// A meter is at its limit, or paused.
    QUOTA_EXCEEDED = 429 "quota-exceeded" "The quota is used up" "QE";
    /// A meter is past its soft limit, and its calls are slowed.
    QUOTA_THROTTLED = 429 "quota-throttled" "The quota is used up, and calls are slowed" "QT";
    /// Too many connections that stay open.
    TOO_MANY_CONNECTIONS = 429 "too-many-connections" "Too many connections are open" "RL";
    /// Too many wrong passwords for an account.
    TOO_MANY_ATTEMPTS = 429 "too-many-attempts" "Too many attempts for this account" "RL";
    /// Too many bytes in the head.
    HEADERS_TOO_LARGE = 431 "headers-too-large" "The header fields are too large" "PE";
    /// The client went away.
    CLIENT_CLOSED = 499 "client-closed" "The client closed the connection" "DC";
    /// A bug of ours.
    INTERNAL = 500 "internal" "Something went wrong" "";
    /// Not implemented on purpose.
    NOT_IMPLEMENTED = 501 "not-implemented" "Not implemented" "PE";
    /// The service's answer could not be had or understood.
    BAD_GATEWAY = 502 "bad-gateway" "The service did not answer properly" "UR";
    /// The service cannot be reached.
    UPSTREAM_UNAVAILABLE = 503 "upstream-unavailable" "The service is not available" "UF";
    /// A tenant's identity provider cannot be reached.
    PROVIDER_UNAVAILABLE = 503 "identity-provider-unavailable" "The identity provider is not available" "UF";
    /// The database or another part of the platform is away.
    UNAVAILABLE = 503 "unavailable" "Not available at the moment" "";
    /// Usage cannot be written down, so what must be counted is not done.
    METERING_UNAVAILABLE = 503 "metering-unavailable" "Usage cannot be counted at the moment" "MU";
    /// Too much at once.
    OVERLOADED = 503 "overloaded" "Too much at once" "OV";
    /// The service took too long.
    UPSTREAM_TIMEOUT = 504 "upstream-timeout" "The service took too long" "UT";
}

/// The kind that stands for a bare status, where a library made the answer.
#[must_use]
pub fn for_status(status: u16) -> &'static Kind {
    ALL.iter().copied().find(|kind| kind.status == status).unwrap_or(match status {
        400..=499 => &MALFORMED_REQUEST,
        _ => &INTERNAL,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = ALL.iter().map(|kind| kind.code).collect();
        codes.sort_unstable();
        let n = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), n);
    }
}
