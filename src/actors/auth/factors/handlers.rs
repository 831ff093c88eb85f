//! The auth actor's side of the protocol.

use super::messages::{BeginTotp, ConfirmTotp, RemoveTotp, RenewRecoveryCodes, StepUp, VerifyCode};
use super::passkey_messages::{BeginAssertion, BeginPasskey, FinishAssertion, FinishPasskey, RemovePasskey};
use super::{enrol_passkey, enrol_totp, manage, show_passkey, verify};
use crate::actors::ask::{Ctx, Handle, Responder};
use crate::actors::auth::AuthActor;

macro_rules! handled_by {
    ($($message:ident => $work:path),+ $(,)?) => {$(
        impl Handle<$message> for AuthActor {
            fn handle(&mut self, message: $message, responder: Responder<$message>, ctx: &mut Ctx<'_, Self>) {
                self.run(message, responder, ctx, |context, message| async move { $work(&context, message).await });
            }
        }
    )+};
}

handled_by! {
    BeginTotp => enrol_totp::begin,
    ConfirmTotp => enrol_totp::confirm,
    RemoveTotp => manage::remove_totp,
    RenewRecoveryCodes => manage::renew,
    VerifyCode => verify::verify,
    StepUp => verify::step_up,
    BeginPasskey => enrol_passkey::begin,
    FinishPasskey => enrol_passkey::finish,
    RemovePasskey => enrol_passkey::remove,
    BeginAssertion => show_passkey::begin,
    FinishAssertion => show_passkey::finish,
}
