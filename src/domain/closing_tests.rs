use proptest::prelude::*;

use super::*;
use crate::domain::price::UnitPrice;

fn month(name: &str) -> Period {
    Period::parse(name).expect("a month")
}

fn tokens() -> MeterName {
    MeterName::parse("ai_tokens").expect("a meter")
}

fn prices() -> MeterPrices {
    let price = MeterPrice { included: 1_000_000, overage: UnitPrice::parse("0.002").ok() };
    BTreeMap::from([(tokens(), price)])
}

fn pro() -> Ahead {
    let crm = ModuleTerms { name: "crm".into(), title: "CRM".into(), price_minor: 1_900 };
    Ahead { plan: "pro".into(), price_minor: 19_900, modules: vec![crm] }
}

fn free() -> Ahead {
    Ahead { plan: "free".into(), price_minor: 0, modules: Vec::new() }
}

fn closing<'a>(prices: &'a MeterPrices, ahead: Option<&'a Ahead>) -> Closing<'a> {
    Closing {
        period: month("2026-11"),
        currency: Currency::parse("USD").expect("a currency"),
        prices,
        ahead,
        used: &[],
        pending: &[],
        discount: None,
        proration_discount: None,
        proration_discount_from: month("2026-11").start,
        taxation: Taxation::NONE,
    }
}

fn used(quantity: i64) -> Used {
    Used { meter: tokens(), period: month("2026-11"), quantity, billed: None }
}

fn facts(closed: &Closed) -> Vec<(&str, i64, i64)> {
    closed.lines.iter().map(|line| (line.key.as_str(), line.quantity, line.amount_minor)).collect()
}

#[test]
fn a_plan_is_paid_ahead_and_usage_after() {
    let (prices, pro, used) = (prices(), pro(), [used(1_500_000)]);
    let closed = Closing { used: &used, ..closing(&prices, Some(&pro)) }.work_out().expect("small");
    let expected = [("plan:pro", 1, 19_900), ("module:crm", 1, 1_900), ("usage:ai_tokens", 500_000, 1_000)];
    assert_eq!(facts(&closed), expected);
    assert_eq!(
        closed.lines.iter().map(|line| line.period.name()).collect::<Vec<_>>(),
        ["2026-12", "2026-12", "2026-11"]
    );
    assert_eq!(closed.totals.total_minor, 22_800);
}

#[test]
fn a_free_plan_has_nothing_to_invoice() {
    let (prices, free, used) = (MeterPrices::new(), free(), [used(50_000)]);
    let closed = Closing { used: &used, ..closing(&prices, Some(&free)) }.work_out().expect("small");
    assert_eq!(facts(&closed), []);
    assert_eq!(closed.billed.len(), 1, "what was used is written down all the same");
}

#[test]
fn the_last_days_of_a_cancelled_subscription_are_billed_and_nothing_ahead() {
    let (prices, used) = (prices(), [used(1_000_500)]);
    let closed = Closing { used: &used, ..closing(&prices, None) }.work_out().expect("small");
    assert_eq!(facts(&closed), [("usage:ai_tokens", 500, 1)]);
}

#[test]
fn usage_is_priced_by_what_held_at_its_end_and_the_month_ahead_by_what_holds_then() {
    let (prices, free, used) = (prices(), free(), [used(2_000_000)]);
    let closed = Closing { used: &used, ..closing(&prices, Some(&free)) }.work_out().expect("small");
    assert_eq!(facts(&closed), [("usage:ai_tokens", 1_000_000, 2_000)]);
}

#[test]
fn late_usage_costs_what_it_would_have_cost_in_time() {
    let prices = prices();
    let price = *prices.get(&tokens()).expect("priced");
    let late = [Used { period: month("2026-10"), quantity: 1_100_000, billed: Some((900_000, price)), ..used(0) }];
    let closed = Closing { used: &late, ..closing(&prices, None) }.work_out().expect("small");
    assert_eq!(facts(&closed), [("late_usage:ai_tokens:2026-10", 100_000, 200)]);
    // A price that has changed since does not matter.
    let others = MeterPrices::new();
    let closed = Closing { used: &late, ..closing(&others, None) }.work_out().expect("small");
    assert_eq!(closed.totals.total_minor, 200);
}

fn item(kind: LineKind, amount_minor: i64, month_name: &str) -> Pending {
    let (key, description) = (format!("{month_name}:{amount_minor}"), "An item".to_owned());
    Pending { key, kind, description, amount_minor, period: month(month_name) }
}

#[test]
fn more_credit_than_is_to_be_paid_waits_for_the_next_invoice() {
    let (prices, pro) = (MeterPrices::new(), pro());
    let pending = [item(LineKind::Proration, -30_000, "2026-11")];
    let closed = Closing { pending: &pending, ..closing(&prices, Some(&pro)) }.work_out().expect("small");
    assert_eq!((closed.carried_minor, closed.totals.total_minor), (8_200, 0));
    let last = closed.lines.last().map(|line| (line.kind, line.amount_minor));
    assert_eq!(last, Some((LineKind::Carried, 8_200)));
}

#[test]
fn credit_alone_is_not_invoiced_month_after_month() {
    let (prices, free, used) = (MeterPrices::new(), free(), [used(50_000)]);
    let pending = [item(LineKind::Proration, -700, "2026-11"), item(LineKind::OneOff, -20, "2026-11")];
    for ahead in [None, Some(&free)] {
        let closed = Closing { pending: &pending, used: &used, ..closing(&prices, ahead) }.work_out().expect("small");
        assert_eq!((facts(&closed), closed.carried_minor, closed.totals.total_minor), (Vec::new(), 0, 0));
        assert_eq!(closed.billed.len(), 1, "what was used is written down all the same");
    }
}

#[test]
fn a_coupon_that_ends_with_the_month_is_taken_off_its_prorations_and_nothing_else() {
    let (prices, pro, used) = (prices(), pro(), [used(1_500_000)]);
    let pending = [
        item(LineKind::Proration, -1_000, "2026-11"),
        item(LineKind::Proration, 6_000, "2026-11"),
        item(LineKind::Proration, 900, "2026-12"),
        item(LineKind::OneOff, 50, "2026-11"),
    ];
    let discount = |own, ahead, pending: &[Pending]| {
        let given =
            Closing { proration_discount: own, discount: ahead, pending, used: &used, ..closing(&prices, Some(&pro)) };
        given.work_out().expect("small").totals.discount_minor
    };
    let (half, amount) = (Some(Discount::Share(500_000)), Some(Discount::Amount(3_000)));
    let all = 5_000 + 900 + 50 + 19_900 + 1_900 + 1_000;
    for (own, ahead, minor) in [
        (half, None, 2_500),
        (None, half, all / 2),
        (half, half, all / 2),
        (amount, None, 3_000),
        (amount, amount, 6_000),
        (Some(Discount::Amount(9_000)), None, 5_000),
        // What was taken off before leaves less than nothing.
        (Some(Discount::Amount(-1)), None, 0),
    ] {
        assert_eq!(discount(own, ahead, &pending), minor, "{own:?} {ahead:?}");
    }
    assert_eq!(discount(half, None, &pending[..1]), 0, "nothing is taken off a credit");
}

proptest! {
    #[test]
    fn usage_billed_over_many_closes_comes_to_the_same(parts in prop::collection::vec(0_i64..800_000, 1..12)) {
        let prices = prices();
        let price = *prices.get(&tokens()).expect("priced");
        let (mut quantity, mut billed, mut paid) = (0, None, 0);
        for part in &parts {
            quantity += part;
            let used = [Used { billed, ..used(quantity) }];
            let closed = Closing { used: &used, ..closing(&prices, None) }.work_out().expect("small");
            paid += closed.totals.total_minor;
            billed = Some((quantity, price));
        }
        prop_assert_eq!(Some(paid), price.cost(quantity).expect("small"));
    }

    #[test]
    fn a_discount_takes_no_more_than_there_is_and_taxes_add_up(
        amounts in prop::collection::vec((-5_000_i64..20_000, any::<bool>()), 0..8), own in discounts(), ahead in discounts(),
    ) {
        let (prices, pro) = (prices(), pro());
        let pending: Vec<_> = amounts.iter().map(|(amount, is_own)| {
            item(LineKind::Proration, *amount, if *is_own { "2026-11" } else { "2026-12" })
        }).collect();
        let taxation = Taxation::at(crate::domain::tax::TaxRate::parse("19").expect("a rate"));
        let given = Closing {
            pending: &pending, proration_discount: own, discount: ahead, taxation, ..closing(&prices, Some(&pro))
        };
        let Totals { subtotal_minor, discount_minor, taxes, tax_minor, total_minor, .. } =
            given.work_out().expect("small").totals;
        prop_assert!((0..=subtotal_minor).contains(&discount_minor));
        prop_assert_eq!(taxes.iter().map(|group| group.basis_minor).sum::<i64>(), subtotal_minor - discount_minor);
        prop_assert_eq!(total_minor, subtotal_minor - discount_minor + tax_minor);
    }
}

fn discounts() -> impl Strategy<Value = Option<Discount>> {
    prop_oneof![
        Just(None),
        (0_u32..=1_000_000).prop_map(|share| Some(Discount::Share(share))),
        (-100_i64..30_000).prop_map(|amount| Some(Discount::Amount(amount))),
    ]
}
