use proptest::prelude::*;

use super::*;
use crate::domain::invoice::{Discount, LineKind};
use crate::domain::period::Period;
use crate::domain::tax::TaxRate;

fn at(percent: &str) -> Taxation {
    Taxation::at(TaxRate::parse(percent).expect("a rate"))
}

fn invoice(amounts: &[(i64, Taxation)], discount: Option<Discount>) -> Billed {
    let period = Period::parse("2026-11").expect("a month");
    let line = |(n, (amount, taxation)): (usize, &(i64, Taxation))| {
        Line::flat(LineKind::OneOff, format!("l{n}"), "a thing".into(), *amount, period, *taxation)
    };
    let lines: Vec<Line> = amounts.iter().enumerate().map(line).collect();
    let usd = Currency::parse("USD").expect("a currency");
    Billed { totals: Totals::of(usd, &lines, discount).expect("small"), lines }
}

fn part(key: &str, amount_minor: i64) -> Part {
    Part { key: key.to_owned(), amount_minor }
}

#[test]
fn the_whole_of_an_invoice_is_what_it_says() {
    let whole = invoice(&[(4_900, at("19")), (1_234, at("7")), (-100, at("19"))], Some(Discount::Share(100_000)));
    assert_eq!(credit(&whole, &[], None).as_ref(), Ok(&whole));
    assert_eq!(credit(&whole, std::slice::from_ref(&whole), None), Err(CreditError::NothingLeft));
}

#[test]
fn a_part_takes_its_share_of_the_discount_and_its_tax_along() {
    let whole = invoice(&[(10_000, at("19"))], Some(Discount::Share(100_000)));
    let note = credit(&whole, &[], Some(&[part("l0", 1_000)])).expect("a part");
    let Totals { subtotal_minor, discount_minor, tax_minor, total_minor, .. } = note.totals;
    assert_eq!((subtotal_minor, discount_minor, tax_minor, total_minor), (1_000, 100, 171, 1_071));
}

#[test]
fn parts_of_a_unit_come_to_the_whole_in_the_end() {
    // 1 % of 3: each unit's own tax would be nothing.
    let whole = invoice(&[(60, at("1"))], None);
    assert_eq!(whole.totals.tax_minor, 1);
    let mut notes = Vec::new();
    for _ in 0..60 {
        notes.push(credit(&whole, &notes, Some(&[part("l0", 1)])).expect("a unit"));
    }
    let total: i64 = notes.iter().map(|note| note.totals.total_minor).sum();
    assert_eq!(total, whole.totals.total_minor);
    assert_eq!(credit(&whole, &notes, None), Err(CreditError::NothingLeft));
}

#[test]
fn more_than_is_left_is_refused_and_says_what_is_left() {
    let whole = invoice(&[(500, at("19")), (300, at("19")), (-600, at("19"))], None);
    let refused = |parts: &[Part]| credit(&whole, &[], Some(parts)).expect_err("too much");
    assert_eq!(refused(&[part("l0", 501)]), CreditError::TooMuch { position: 0, left_minor: 200 });
    // The credit on the invoice counts: no more than was asked for is given back.
    assert_eq!(refused(&[part("l0", 150), part("l1", 51)]), CreditError::TooMuch { position: 1, left_minor: 50 });
    for parts in [[part("l2", 1)], [part("none", 1)], [part("l0", 0)], [part("l0", -5)]] {
        assert_eq!(refused(&parts), CreditError::NoSuchLine(0), "{parts:?}");
    }
    assert_eq!(refused(&[part("l0", 1), part("l0", 1)]), CreditError::NoSuchLine(1));
    let note = credit(&whole, &[], Some(&[part("l0", 150)])).expect("a part");
    let refused = credit(&whole, &[note], Some(&[part("l1", 51)])).expect_err("too much");
    assert_eq!(refused, CreditError::TooMuch { position: 0, left_minor: 50 });
}

fn taxations() -> impl Strategy<Value = Taxation> {
    prop_oneof![Just(Taxation::EXEMPT), Just(at("7")), Just(at("19")), Just(at("8.875"))]
}

fn discounts() -> impl Strategy<Value = Option<Discount>> {
    prop_oneof![
        Just(None),
        (0..=999_999_u32).prop_map(|share| Some(Discount::Share(share))),
        (0..5_000_i64).prop_map(|amount| Some(Discount::Amount(amount))),
    ]
}

proptest! {
    #[test]
    fn notes_never_exceed_their_invoice_and_end_with_it(
        amounts in proptest::collection::vec((-500..5_000_i64, taxations()), 1..6),
        discount in discounts(),
        wishes in proptest::collection::vec((0..6_usize, 1..6_000_i64), 0..12),
    ) {
        let whole = invoice(&amounts, discount);
        let mut notes: Vec<Billed> = Vec::new();
        for (n, amount) in wishes {
            let mut wish = part(&format!("l{n}"), amount);
            if let Err(CreditError::TooMuch { left_minor, .. }) = credit(&whole, &notes, Some(&[wish.clone()])) {
                wish.amount_minor = left_minor;
            }
            if let Ok(note) = credit(&whole, &notes, Some(&[wish])) {
                prop_assert!(note.totals.discount_minor >= 0 && note.totals.tax_minor >= 0, "{note:?}");
                notes.push(note);
            }
        }
        let total = |notes: &[Billed]| notes.iter().map(|note| note.totals.total_minor).sum::<i64>();
        prop_assert!(total(&notes) <= whole.totals.total_minor.max(0));
        match credit(&whole, &notes, None) {
            Ok(rest) => {
                for group in &rest.totals.taxes {
                    let exact = divide_rounded(
                        i128::from(group.basis_minor) * i128::from(group.taxation.rate.millionths()), 1_000_000,
                    ).expect("small");
                    prop_assert!((group.amount_minor - exact).abs() <= 1, "{group:?}");
                }
                notes.push(rest);
                prop_assert_eq!(total(&notes), whole.totals.total_minor);
                let sums = |of: fn(&Totals) -> i64| notes.iter().map(|note| of(&note.totals)).sum::<i64>();
                prop_assert_eq!(sums(|totals| totals.tax_minor), whole.totals.tax_minor);
                prop_assert_eq!(sums(|totals| totals.discount_minor), whole.totals.discount_minor);
            }
            // Lines that come to nothing may be left, but no money.
            Err(error) => {
                prop_assert_eq!(error, CreditError::NothingLeft);
                prop_assert!(whole.totals.total_minor <= 0 || total(&notes) == whole.totals.total_minor);
            }
        }
    }
}
