//! The auth actor's side of the protocol.

use super::messages::{BeginTotp, ConfirmTotp, RemoveTotp, RenewRecoveryCodes, StepUp, VerifyCode};
use super::{enrol_totp, manage, verify};
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
}
