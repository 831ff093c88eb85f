//! Mistakes in prices: `[plans]`, `[modules]`, `[coupons]`, `[billing]`.

use super::billing::expect;
use crate::config::{BillingSettings, CouponSettings, DunningSettings, PlanSettings, Settings};
use crate::domain::invoice_document::{MAX_TEXT_CHARS, PartyFault, SellerNumber, is_iban};
use crate::domain::money::Currency;
use crate::domain::price::UnitPrice;
use crate::domain::tax::{TaxRate, Taxation};

/// Highest price of a month, in the currency's smallest unit.
const MAX_PRICE: i64 = 100_000_000_000;
/// Longest trial, and longest wait for a payment, in days.
const MAX_DAYS: u32 = 365;
/// Longest run of a coupon.
const MAX_MONTHS: u32 = 120;
/// Longest name of a plan or module, and longest title.
const MAX_TEXT: usize = 64;
/// Longest code of a coupon.
const MAX_CODE: usize = 40;

/// Every mistake, each as `key: found, expected`.
pub(super) fn validate(settings: &Settings) -> Vec<String> {
    let mut mistakes = Vec::new();
    let billing = &settings.billing;
    // Documents have two decimals at most (EN 16931, BR-DEC), and parts of a month come to any amount.
    let is_currency = Currency::parse(&billing.currency).is_ok_and(|currency| currency.exponent() <= 2);
    expect(is_currency, &mut mistakes, || {
        let found = &billing.currency;
        format!(
            "billing.currency: found {found:?}, expected a code of ISO 4217 with at most two decimals, such as \"USD\""
        )
    });
    expect(TaxRate::parse(&billing.tax_rate_percent).is_ok(), &mut mistakes, || {
        let found = &billing.tax_rate_percent;
        format!("billing.tax_rate_percent: found {found:?}, expected a decimal number from \"0\" to \"100\"")
    });
    check_title("billing.tax_name", &billing.tax_name, &mut mistakes);
    check_dunning(billing.dunning, &mut mistakes);
    check_invoicing(billing, &mut mistakes);
    for (name, plan) in &settings.plans {
        check_plan(&format!("plans.{name}"), name, plan, &mut mistakes);
    }
    for (name, module) in &settings.modules {
        let key = format!("modules.{name}");
        check_title(&key, name, &mut mistakes);
        check_title(&format!("{key}.title"), &module.title, &mut mistakes);
        check_price(&key, module.price_minor, &mut mistakes);
    }
    for (code, coupon) in &settings.coupons {
        check_coupon(code, coupon, &mut mistakes);
    }
    mistakes
}

fn check_invoicing(billing: &BillingSettings, mistakes: &mut Vec<String>) {
    expect(billing.payment_days <= MAX_DAYS, mistakes, || {
        format!("billing.payment_days: found {}, expected 0 to {MAX_DAYS}", billing.payment_days)
    });
    for (key, prefix) in
        [("invoice_prefix", &billing.invoice_prefix), ("credit_note_prefix", &billing.credit_note_prefix)]
    {
        let is_good = (1..=12).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric());
        expect(is_good, mistakes, || format!("billing.{key}: found {prefix:?}, expected 1 to 12 letters and digits"));
    }
    expect(billing.invoice_prefix != billing.credit_note_prefix, mistakes, || {
        "billing.credit_note_prefix: found that of invoices, expected another".to_owned()
    });
    check_seller(billing, mistakes);
    let accent = &billing.seller.accent;
    let is_colour =
        accent.len() == 7 && accent.starts_with('#') && accent.bytes().skip(1).all(|byte| byte.is_ascii_hexdigit());
    expect(accent.is_empty() || is_colour, mistakes, || {
        format!("billing.seller.accent: found {accent:?}, expected a colour such as \"#1f4e5f\"")
    });
}

/// What would keep every invoice from being printed.
fn check_seller(billing: &BillingSettings, mistakes: &mut Vec<String>) {
    let (seller, party) = (&billing.seller, billing.seller.party());
    for fault in party.faults() {
        let (key, found) = match fault {
            PartyFault::Name => ("legal_name", format!("{:?}", seller.legal_name)),
            PartyFault::Country => ("country", format!("{:?}", seller.country)),
            PartyFault::AddressLines => ("address_lines", seller.address_lines.len().to_string()),
            PartyFault::VatId => ("tax_id", format!("{:?}", seller.tax_id)),
        };
        mistakes.push(format!("billing.seller.{key}: found {found}, expected {}", fault.expected()));
    }
    // A rate that cannot be read is a mistake of its own.
    let lacks = TaxRate::parse(&billing.tax_rate_percent)
        .ok()
        .and_then(|rate| party.lacks_as_seller(Taxation::at(rate).category));
    match lacks {
        None => {}
        Some(SellerNumber::Tax) => {
            mistakes.push("billing.seller.tax_id: found nothing, expected the seller's number for tax".to_owned());
        }
        Some(SellerNumber::Registration) => mistakes.push(
            "billing.seller.registration: found nothing, expected the seller's number in the register of companies, or, where tax \
             is charged, a tax_id that begins with its country"
                .to_owned(),
        ),
    }
    // Documents leave spaces out.
    let iban: String = seller.iban.chars().filter(|c| !c.is_whitespace()).collect();
    expect(iban.is_empty() || is_iban(&iban), mistakes, || {
        format!("billing.seller.iban: found {:?}, expected an IBAN with right check digits", seller.iban)
    });
    let texts = [
        ("legal_name", &seller.legal_name),
        ("city", &seller.city),
        ("postcode", &seller.postcode),
        ("tax_id", &seller.tax_id),
        ("registration", &seller.registration),
        ("email", &seller.email),
        ("website", &seller.website),
        ("bank", &seller.bank),
        ("bic", &seller.bic),
    ];
    for (key, text) in texts.into_iter().chain(seller.address_lines.iter().map(|line| ("address_lines", line))) {
        let n = text.chars().count();
        expect(n <= MAX_TEXT_CHARS, mistakes, || {
            format!("billing.seller.{key}: found {n} characters, expected at most {MAX_TEXT_CHARS}")
        });
    }
}

fn check_plan(key: &str, name: &str, plan: &PlanSettings, mistakes: &mut Vec<String>) {
    // A version of a plan is written as `name@version`.
    expect(!name.contains('@'), mistakes, || format!("{key}: found an @, expected a name without it"));
    check_title(key, name, mistakes);
    if let Some(title) = &plan.title {
        check_title(&format!("{key}.title"), title, mistakes);
    }
    check_price(key, plan.price_minor, mistakes);
    expect(plan.trial_days <= MAX_DAYS, mistakes, || {
        format!("{key}.trial_days: found {}, expected 0 to {MAX_DAYS}", plan.trial_days)
    });
    for (meter, figures) in &plan.meters {
        if let Some(price) = &figures.overage_unit_price {
            expect(UnitPrice::parse(price).is_ok(), mistakes, || {
                format!(
                    "{key}.meters.{meter}.overage_unit_price: found {price:?}, expected a decimal number with up to 12 decimals, \
                     such as \"0.002\""
                )
            });
        }
    }
}

fn check_price(key: &str, price: i64, mistakes: &mut Vec<String>) {
    expect((0..=MAX_PRICE).contains(&price), mistakes, || {
        format!("{key}.price_minor: found {price}, expected 0 to {MAX_PRICE}")
    });
}

fn check_title(key: &str, title: &str, mistakes: &mut Vec<String>) {
    let is_good = (1..=MAX_TEXT).contains(&title.chars().count()) && !title.contains(char::is_control);
    expect(is_good, mistakes, || format!("{key}: found {title:?}, expected 1 to {MAX_TEXT} characters"));
}

fn check_coupon(code: &str, coupon: &CouponSettings, mistakes: &mut Vec<String>) {
    let key = format!("coupons.{code}");
    let is_code = (1..=MAX_CODE).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'));
    expect(is_code, mistakes, || format!("{key}: found {code:?}, expected 1 to {MAX_CODE} of A-Z, 0-9, - and _"));
    match (coupon.percent_off, coupon.amount_off_minor) {
        (Some(percent), None) => expect((1..=100).contains(&percent), mistakes, || {
            format!("{key}.percent_off: found {percent}, expected 1 to 100")
        }),
        (None, Some(amount)) => expect((1..=MAX_PRICE).contains(&amount), mistakes, || {
            format!("{key}.amount_off_minor: found {amount}, expected 1 to {MAX_PRICE}")
        }),
        (Some(_), Some(_)) => {
            mistakes.push(format!("{key}: found percent_off and amount_off_minor, expected one of them"));
        }
        (None, None) => {
            mistakes.push(format!("{key}: found neither percent_off nor amount_off_minor, expected one of them"));
        }
    }
    expect((1..=MAX_MONTHS).contains(&coupon.months), mistakes, || {
        format!("{key}.months: found {}, expected 1 to {MAX_MONTHS}", coupon.months)
    });
}

fn check_dunning(dunning: DunningSettings, mistakes: &mut Vec<String>) {
    let DunningSettings { warn_days, restrict_days, suspend_days } = dunning;
    for (key, value, least) in [
        ("warn_days", warn_days, 0),
        ("restrict_days", restrict_days, warn_days),
        ("suspend_days", suspend_days, restrict_days),
    ] {
        expect((least..=MAX_DAYS).contains(&value), mistakes, || {
            format!("billing.dunning.{key}: found {value}, expected {least} to {MAX_DAYS}")
        });
    }
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
