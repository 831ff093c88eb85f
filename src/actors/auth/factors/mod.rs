//! Second factors: enrolling, removing, and showing them at sign-in and for step-up.
//!
//! A code is claimed before it is looked at, in a transaction of its own, so that nobody tries more of them by trying at once.

mod challenge;
mod change;
mod code;
mod enrol_passkey;
mod enrol_totp;
mod handlers;
mod manage;
mod messages;
mod passkey_messages;
mod relying_party;
mod show_passkey;
mod trail;
mod verify;

pub(super) use challenge::{after_password, require_factor, wait_for_factor};
pub(in crate::actors) use change::{demand, lock_signed_in};
pub use messages::{
    BeginTotp, Challenged, ConfirmTotp, Enrolled, Enroller, RemoveTotp, RenewRecoveryCodes, SignInOutcome,
    SignedInUser, StepUp, TotpEnrolment, VerifyCode,
};
pub use passkey_messages::{
    AssertionUse, BeginAssertion, BeginPasskey, CeremonyOptions, FinishAssertion, FinishPasskey, RemovePasskey,
};
pub(super) use verify::elevate;
