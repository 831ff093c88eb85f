use proptest::prelude::*;

use super::*;
use crate::domain::tax::TaxRate;

fn november() -> Period {
    Period::parse("2026-11").expect("a month")
}

fn usd() -> Currency {
    Currency::parse("USD").expect("a currency")
}

fn at(percent: &str) -> Taxation {
    Taxation::at(TaxRate::parse(percent).expect("a rate"))
}

fn line(amount_minor: i64, taxation: Taxation) -> Line {
    Line::flat(LineKind::OneOff, "k".into(), "a thing".into(), amount_minor, november(), taxation)
}

#[test]
fn a_plan_with_overage_a_coupon_and_tax_adds_up() {
    let lines = [line(4_900, at("19")), line(1_234, at("19"))];
    let totals = Totals::of(usd(), &lines, Some(Discount::Share(100_000))).expect("small");
    assert_eq!((totals.subtotal_minor, totals.discount_minor), (6_134, 613));
    assert_eq!((totals.tax_minor, totals.total_minor), (1_049, 6_570));
}

#[test]
fn a_discount_takes_no_more_than_there_is() {
    let totals = |discount| Totals::of(usd(), &[line(100, at("19"))], Some(discount)).expect("small");
    assert_eq!(totals(Discount::Amount(1_000)).total_minor, 0);
    assert_eq!(totals(Discount::Share(1_000_000)).total_minor, 0);
    assert_eq!(totals(Discount::Amount(-5)).discount_minor, 0);
    let credit = Totals::of(usd(), &[line(-100, at("19"))], Some(Discount::Amount(10))).expect("small");
    assert_eq!(credit.discount_minor, 0, "nothing is taken off a credit");
}

#[test]
fn credit_is_carried_and_never_paid_out() {
    let (lines, left) =
        carry_credit(vec![line(100, at("19")), line(-350, at("19"))], november(), at("19")).expect("small");
    assert_eq!(left, 250);
    assert_eq!(Totals::of(usd(), &lines, None).expect("small").total_minor, 0);
    let (lines, left) = carry_credit(vec![line(100, at("19"))], november(), at("19")).expect("small");
    assert_eq!((lines.len(), left), (1, 0));
}

#[test]
fn kinds_keep_their_names() {
    for (kind, name) in LineKind::ALL {
        assert_eq!(LineKind::parse(name), Some(kind));
        assert_eq!(kind.as_str(), name);
    }
}

fn taxations() -> impl Strategy<Value = Taxation> {
    prop_oneof![Just(Taxation::NONE), Just(at("7")), Just(at("19")), Just(at("8.875"))]
}

proptest! {
    #[test]
    fn totals_are_the_sums_of_their_parts(
        parts in prop::collection::vec((-100_000_i64..1_000_000, taxations()), 0..40),
        discount in prop_oneof![
            Just(None),
            (0_u32..=1_000_000).prop_map(|share| Some(Discount::Share(share))),
            (0_i64..2_000_000).prop_map(|amount| Some(Discount::Amount(amount))),
        ],
    ) {
        let lines: Vec<Line> = parts.iter().map(|(amount, taxation)| line(*amount, *taxation)).collect();
        let totals = Totals::of(usd(), &lines, discount).expect("small");
        prop_assert_eq!(totals.total_minor, totals.subtotal_minor - totals.discount_minor + totals.tax_minor);
        prop_assert_eq!(totals.tax_minor, totals.taxes.iter().map(|group| group.amount_minor).sum::<i64>());
        let bases: i64 = totals.taxes.iter().map(|group| group.basis_minor).sum();
        prop_assert_eq!(bases, totals.subtotal_minor - totals.discount_minor);
        prop_assert!(totals.discount_minor >= 0 && totals.discount_minor <= totals.subtotal_minor.max(0));
    }

    #[test]
    fn an_invoice_never_asks_for_less_than_nothing(amounts in prop::collection::vec(-100_000_i64..100_000, 0..20)) {
        let lines: Vec<Line> = amounts.iter().map(|amount| line(*amount, at("19"))).collect();
        let before: i64 = amounts.iter().sum();
        let (lines, left) = carry_credit(lines, november(), at("19")).expect("small");
        let totals = Totals::of(usd(), &lines, None).expect("small");
        prop_assert!(totals.total_minor >= 0);
        prop_assert_eq!(totals.subtotal_minor - left, before);
    }
}
