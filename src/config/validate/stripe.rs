//! `[stripe]`.

use super::is_upstream;
use crate::config::{Settings, StripeSettings};

/// Currencies whose smallest unit is another one at Stripe than in ISO 4217: the króna and the Ugandan shilling have two decimals in its
/// API, and the ariary, of which five parts are one, has none (<https://docs.stripe.com/currencies>). Sums are sent as they are.
const OTHER_UNITS: [&str; 3] = ["ISK", "MGA", "UGX"];

/// Every mistake, each as `key: found, expected`. Secrets are not shown.
pub(super) fn validate(all: &Settings) -> Vec<String> {
    let (settings, currency) = (&all.stripe, &all.billing.currency);
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
        order_timeout_ms,
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
    check(
        secret_key.is_none() || !OTHER_UNITS.contains(&currency.as_str()),
        format!(
            "billing.currency: found {currency:?}, expected another one with stripe.secret_key, because Stripe counts sums of {} in \
             another unit",
            OTHER_UNITS.join(", ")
        ),
    );
    for (key, value, min, max) in [
        ("stripe.timeout_ms", *timeout_ms, 100, 80_000),
        ("stripe.order_timeout_ms", *order_timeout_ms, 100, 300_000),
        ("stripe.max_connections", *max_connections as u64, 1, 100),
        ("stripe.retry_ms", *retry_ms, 1, 60_000),
    ] {
        check((min..=max).contains(&value), format!("{key}: found {value}, expected {min} to {max}"));
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use crate::config::load;

    #[test]
    fn a_currency_whose_unit_is_another_one_at_stripe_is_refused_with_stripe() {
        let keys = "[stripe]\nsecret_key = \"sk_test_x\"\nwebhook_secret = \"whsec_x\"\n";
        for (currency, stripe, is_refused) in [
            ("ISK", keys, true),
            ("UGX", keys, true),
            ("MGA", keys, true),
            ("ISK", "", false),
            ("JPY", keys, false),
            ("USD", keys, false),
        ] {
            let file = tempfile::NamedTempFile::new().expect("a temporary file");
            let text = format!("[billing]\ncurrency = \"{currency}\"\n{stripe}");
            std::fs::write(file.path(), text).expect("the file is written");
            let mistakes = load(Some(file.path())).map_or_else(|error| error.0, |_settings| Vec::new());
            let named = format!("billing.currency: found \"{currency}\"");
            let found = mistakes.iter().filter(|line| line.contains(&named)).count();
            assert_eq!((found, mistakes.len()), (usize::from(is_refused), usize::from(is_refused)), "{mistakes:?}");
        }
    }
}
