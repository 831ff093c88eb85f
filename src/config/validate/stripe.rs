//! `[stripe]`.

use super::is_upstream;
use crate::config::StripeSettings;

/// Every mistake, each as `key: found, expected`. Secrets are not shown.
pub(super) fn validate(settings: &StripeSettings) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut check = |ok: bool, text: String| {
        if !ok {
            mistakes.push(text);
        }
    };
    let StripeSettings {
        secret_key,
        webhook_secret,
        webhook_secret_previous,
        api_base,
        timeout_ms,
        max_connections,
        retry_ms,
    } = settings;
    check(
        secret_key.is_some() == webhook_secret.is_some(),
        "stripe.secret_key, stripe.webhook_secret: found one of them, expected both or none".to_owned(),
    );
    check(
        webhook_secret_previous.is_none() || webhook_secret.is_some(),
        "stripe.webhook_secret_previous: found alone, expected stripe.webhook_secret beside it".to_owned(),
    );
    check(
        is_upstream(api_base),
        format!("stripe.api_base: found {api_base:?}, expected \"https://host\" without a path"),
    );
    for (key, value, min, max) in [
        ("stripe.timeout_ms", *timeout_ms, 100, 80_000),
        ("stripe.max_connections", *max_connections as u64, 1, 100),
        ("stripe.retry_ms", *retry_ms, 1, 60_000),
    ] {
        check((min..=max).contains(&value), format!("{key}: found {value}, expected {min} to {max}"));
    }
    mistakes
}
