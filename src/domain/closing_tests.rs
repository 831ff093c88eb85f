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

#[test]
fn more_credit_than_is_to_be_paid_waits_for_the_next_invoice() {
    let prices = MeterPrices::new();
    let credit = Pending {
        key: "c".into(),
        kind: LineKind::Proration,
        description: "Credit".into(),
        amount_minor: -700,
        period: month("2026-11"),
    };
    let pending = [credit];
    let closed = Closing { pending: &pending, ..closing(&prices, None) }.work_out().expect("small");
    assert_eq!((closed.carried_minor, closed.totals.total_minor), (700, 0));
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
}
