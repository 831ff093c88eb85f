use proptest::prelude::*;

use super::*;

const POLICY: DunningPolicy = DunningPolicy { warn_days: 0, restrict_days: 14, suspend_days: 30 };

fn free() -> Subscription {
    Subscription::implied("free", 1, PlanFigures::default(), DateTime::UNIX_EPOCH)
}

#[test]
fn words_and_statuses_are_the_same() {
    for status in SubscriptionStatus::ALL {
        assert_eq!(SubscriptionStatus::parse(status.as_str()), Some(status));
    }
    assert_eq!(SubscriptionStatus::parse("paid"), None);
}

#[test]
fn debts_lead_from_warning_to_suspension_and_a_payment_back() {
    use SubscriptionStatus::{Active, Canceled, PastDue, Restricted, Suspended, Trialing};
    for (days, status) in
        [(None, Active), (Some(0), PastDue), (Some(13), PastDue), (Some(14), Restricted), (Some(30), Suspended)]
    {
        assert_eq!(POLICY.status(Stage::Running, days), status, "{days:?}");
    }
    assert_eq!(POLICY.status(Stage::Trial, None), Trialing);
    assert_eq!(POLICY.status(Stage::Ended, None), Canceled);
    assert_eq!(POLICY.status(Stage::Ended, Some(14)), Restricted, "an end does not end a debt");
    let patient = DunningPolicy { warn_days: 3, ..POLICY };
    assert_eq!(patient.status(Stage::Running, Some(2)), Active);
}

#[test]
fn what_was_ended_leaves_what_is_free() {
    let ended =
        Subscription { status: SubscriptionStatus::Canceled, canceled_at: Some(DateTime::UNIX_EPOCH), ..free() };
    assert_eq!(ended.access(), Access::Open);
    let terms = Terms { price_minor: 4_900, ..ended.terms.clone() };
    let ended = Subscription { terms, ..ended };
    assert_eq!((ended.access(), ended.billed_minor()), (Access::Shut, 0));
}

#[test]
fn a_coupon_is_good_for_its_periods() {
    let at = |text: &str| DateTime::parse_from_rfc3339(text).expect("a time").to_utc();
    let coupon = HeldCoupon {
        code: "LAUNCH".to_owned(),
        discount: Discount::PercentOff(20),
        starts_at: at("2026-11-01T00:00:00Z"),
        taken_at: None,
        ends_at: at("2027-01-01T00:00:00Z"),
    };
    let held = Subscription { coupon: Some(coupon), ..free() };
    for (start, has) in [("2026-10", false), ("2026-11", true), ("2026-12", true), ("2027-01", false)] {
        assert_eq!(held.coupon_at(at(&format!("{start}-01T00:00:00Z"))).is_some(), has, "{start}");
    }
}

proptest! {
    #[test]
    fn the_longer_a_debt_the_less_works(days in 0_u32..100, more in 0_u32..100) {
        let access = |days| Subscription { status: POLICY.status(Stage::Running, Some(days)), ..free() }.access() as u8;
        prop_assert!(access(days) <= access(days + more));
    }
}
