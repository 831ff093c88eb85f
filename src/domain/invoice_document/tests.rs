//! Sums, forms, figures as text.

use proptest::prelude::*;

use super::decimal::{Decimal, divide_half_away};
use super::*;

/// The document of `docs/sample-invoice.pdf`.
fn sample() -> InvoiceDocument {
    serde_json::from_str(include_str!("../../../docs/sample-invoice.json")).expect("the sample")
}

/// The sample with a change.
fn with(change: impl FnOnce(&mut InvoiceDocument)) -> Result<(), DocumentError> {
    let mut document = sample();
    change(&mut document);
    document.check()
}

fn line_of(net: i64, tax: TaxKey) -> DocumentLine {
    let price = plain_amount(net.abs(), 2);
    let quantity = if net < 0 { "-1" } else { "1" };
    let [template, ..] = &sample().lines[..] else { panic!("the sample has lines") };
    DocumentLine { unit_price: price, quantity: quantity.to_owned(), net, tax, ..template.clone() }
}

/// A right document of these nets, all in one tax group.
fn of_nets(nets: &[i64], rate: u32, allowance: i64, paid: i64) -> InvoiceDocument {
    let tax = TaxKey { category: TaxCategory::Standard, rate };
    let subtotal: i64 = nets.iter().sum();
    let basis = subtotal - allowance;
    let amount = divide_half_away(i128::from(basis) * i128::from(rate), 1_000_000).expect("fits");
    let amount = i64::try_from(amount).expect("fits");
    let mut document = sample();
    document.lines = nets.iter().map(|net| line_of(*net, tax)).collect();
    document.allowances = vec![Allowance { reason: "Discount".to_owned(), amount: allowance, tax }];
    document.tax_groups = vec![TaxGroup { tax, basis, amount, reason: String::new() }];
    document.subtotal = subtotal;
    document.allowance_total = allowance;
    document.tax_total = amount;
    document.total = basis + amount;
    document.already_paid = paid;
    document.amount_due = document.total - paid;
    document
}

#[test]
fn the_sample_may_be_issued() {
    sample().check().expect("right");
}

#[test]
fn a_sum_that_is_off_by_one_minor_unit_is_refused_wherever_it_stands() {
    type Change = fn(&mut InvoiceDocument);
    let changes: [(&str, Change); 13] = [
        ("BR-CO-10", |d| d.subtotal += 1),
        ("BR-CO-10", |d| (d.subtotal, d.total, d.amount_due) = (d.subtotal - 1, d.total - 1, d.amount_due - 1)),
        ("BR-CO-11", |d| d.allowance_total -= 1),
        ("BR-CO-14", |d| d.tax_total += 1),
        ("BR-CO-15", |d| d.total -= 1),
        ("BR-CO-15", |d| (d.total, d.amount_due) = (d.total + 1, d.amount_due + 1)),
        ("BR-CO-16", |d| d.amount_due += 1),
        ("BR-CO-16", |d| d.already_paid += 1),
        ("half away", |d| d.lines[0].net += 1),
        ("half away", |d| d.lines[4].net -= 1),
        ("BR-S-08", |d| d.tax_groups[0].basis += 1),
        ("BR-CO-14", |d| d.tax_groups[0].amount += 1),
        ("BR-CO-17", |d| {
            d.tax_groups[0].amount += 1;
            (d.tax_total, d.total, d.amount_due) = (d.tax_total + 1, d.total + 1, d.amount_due + 1);
        }),
    ];
    for (rule, change) in changes {
        let error = with(change).expect_err(rule).to_string();
        assert!(error.contains(rule), "{rule}: {error}");
    }
}

#[test]
fn what_must_be_there_and_well_formed_is_asked_for() {
    type Change = fn(&mut InvoiceDocument);
    let changes: [(&str, Change); 23] = [
        ("BR-02", |d| d.number = " \n".to_owned()),
        ("BR-16", |d| d.lines.clear()),
        ("BR-06", |d| d.seller.name.clear()),
        ("BR-07", |d| d.buyer.name.clear()),
        ("ISO 3166", |d| d.buyer.country = "UK".to_owned()),
        ("BR-CO-09", |d| d.buyer.vat_id = "123".to_owned()),
        ("BR-S-02", |d| d.seller.vat_id.clear()),
        ("BR-CO-26", |d| {
            d.seller.tax_number = std::mem::take(&mut d.seller.vat_id);
            d.seller.registration.clear();
        }),
        ("BR-CO-25", |d| d.due_on = None),
        ("ISO 13616", |d| d.payment.bank.as_mut().expect("a bank").iban = "DE89370400440532013001".to_owned()),
        ("ISO 13616", |d| d.payment.bank.as_mut().expect("a bank").iban = "ÄÖÜ".to_owned()),
        ("BR-50", |d| d.payment.bank.as_mut().expect("a bank").iban.clear()),
        ("ISO 4217", |d| d.currency.code = "eur".to_owned()),
        ("0, 2 or 3", |d| d.currency.exponent = 4),
        ("BR-DEC", |d| d.currency.exponent = 3),
        ("BR-27", |d| (d.lines[3].quantity, d.lines[3].unit_price) = ("1".to_owned(), "-32.67".to_owned())),
        ("19 digits", |d| d.lines[0].quantity = "1e3".to_owned()),
        ("must fit", |d| d.lines[0].price_quantity = 0),
        ("BR-29", |d| d.lines[0].period = Some(ServicePeriod { first: d.issued_on, last: NaiveDate::MIN })),
        ("hexadecimal", |d| d.accent = "red".to_owned()),
        ("at most 1000", |d| d.notes = vec!["x".repeat(1_001)]),
        ("at most 500", |d| d.lines = vec![d.lines[0].clone(); 501]),
        ("at most 200000", |d| {
            d.lines[0].detail = "x".repeat(900);
            d.lines = vec![d.lines[0].clone(); 250];
        }),
    ];
    for (rule, change) in changes {
        let error = with(change).expect_err(rule).to_string();
        assert!(error.contains(rule), "{rule}: {error}");
    }
}

#[test]
fn a_tax_category_has_its_rate_its_reason_and_its_lines() {
    type Change = fn(&mut InvoiceDocument);
    let changes: [(&str, Change); 6] = [
        ("BR-S-05", |d| d.tax_groups[0].tax.rate = 0),
        ("BR-S-05", |d| d.tax_groups[0].tax.category = TaxCategory::Zero),
        ("BR-S-10", |d| d.tax_groups[0].reason = "because".to_owned()),
        ("BR-S-08", |d| d.tax_groups.push(d.tax_groups[0].clone())),
        ("BR-S-08", |d| d.tax_groups[0].tax.rate = 70_000),
        ("BR-CO-18", |d| {
            d.tax_groups.clear();
            (d.tax_total, d.total, d.amount_due) = (0, 30_262, 30_262);
        }),
    ];
    for (rule, change) in changes {
        let mut document = sample();
        change(&mut document);
        document.tax_total = document.tax_groups.iter().map(|group| group.amount).sum();
        document.total = document.tax_exclusive() + document.tax_total;
        document.amount_due = document.total;
        let error = document.check().expect_err(rule).to_string();
        assert!(error.contains(rule), "{rule}: {error}");
    }
}

#[test]
fn a_seller_without_tax_ids_sells_what_is_not_subject_to_tax() {
    let tax = TaxKey { category: TaxCategory::NotSubject, rate: 0 };
    let mut document = of_nets(&[4_900], 190_000, 0, 0);
    document.lines[0].tax = tax;
    document.allowances.clear();
    let reason = "Not subject to tax.".to_owned();
    document.tax_groups = vec![TaxGroup { tax, basis: 4_900, amount: 0, reason }];
    (document.tax_total, document.total, document.amount_due) = (0, 4_900, 4_900);
    document.seller.vat_id.clear();
    document.check().expect("registered, without tax ids");
    document.seller.registration.clear();
    assert!(document.check().is_err_and(|error| error.to_string().contains("BR-CO-26")));
}

#[test]
fn amounts_of_all_exponents_are_written_without_floats() {
    for (minor, exponent, plain, grouped) in [
        (0, 2, "0.00", "0.00"),
        (5, 2, "0.05", "0.05"),
        (-5, 2, "-0.05", "−0.05"),
        (123_456_789, 2, "1234567.89", "1,234,567.89"),
        (-100_000, 2, "-1000.00", "−1,000.00"),
        (1_234, 0, "1234", "1,234"),
        (999, 0, "999", "999"),
        (1_234, 3, "1.234", "1.234"),
        (1_234_567, 3, "1234.567", "1,234.567"),
        (i64::MIN, 2, "-92233720368547758.08", "−92,233,720,368,547,758.08"),
        (i64::MAX, 0, "9223372036854775807", "9,223,372,036,854,775,807"),
    ] {
        assert_eq!(plain_amount(minor, exponent), plain);
        assert_eq!(grouped_amount(minor, exponent), grouped);
    }
    let in_currency =
        |minor, code: &str, exponent| money_text(minor, &DocumentCurrency { code: code.to_owned(), exponent });
    assert_eq!(in_currency(-123_456, "USD", 2), "−$1,234.56");
    assert_eq!(in_currency(123_456, "JPY", 0), "¥123,456");
    assert_eq!(in_currency(123_450, "KWD", 3), "KWD\u{a0}123.450");
}

#[test]
fn decimals_are_grouped_and_keep_their_places() {
    for (text, decimals, grouped) in [
        ("1", 0, "1"),
        ("12345", 0, "12,345"),
        ("-1.50", 0, "−1.5"),
        ("49", 2, "49.00"),
        ("0.00002", 2, "0.00002"),
        ("007.10", 2, "7.10"),
        ("1234567.8901", 2, "1,234,567.8901"),
        ("NaN", 2, "NaN"),
    ] {
        assert_eq!(grouped_decimal(text, decimals), grouped, "{text}");
    }
}

#[test]
fn rates_and_prices_are_shown_in_the_units_that_people_use() {
    for (millionths, percent) in [(0, "0"), (190_000, "19"), (88_750, "8.875"), (1, "0.0001"), (1_000_000, "100")] {
        assert_eq!(percent_text(millionths), percent);
    }
    for (minor, exponent, major) in [
        ("0.002", 2, "0.00002"),
        ("4900", 2, "49.00"),
        ("5", 2, "0.05"),
        ("-12.5", 2, "-0.125"),
        ("7", 0, "7"),
        ("7.5", 0, "7.5"),
        ("1", 3, "0.001"),
        ("x", 2, "x"),
    ] {
        assert_eq!(major_decimal(minor, exponent), major, "{minor}");
    }
}

#[test]
fn texts_of_others_stay_on_one_line_and_keep_their_direction() {
    assert_eq!(one_line("  a\r\n\tb \u{2028} c\u{0} "), "a b c");
    assert_eq!(one_line("total \u{202e}00.001\u{202c} \u{2067}x\u{2069}"), "total 00.001 x");
    assert_eq!(one_line("שלום\u{200f} \u{feff}\u{fffe}مرحبا"), "שלום مرحبا");
}

#[test]
fn halves_are_rounded_away_from_zero() {
    for (dividend, divisor, quotient) in
        [(5, 2, 3), (-5, 2, -3), (4, 3, 1), (-4, 3, -1), (2, 4, 1), (1, 4, 0), (-2, 4, -1)]
    {
        assert_eq!(divide_half_away(dividend, divisor), Some(quotient), "{dividend} / {divisor}");
    }
    assert_eq!(divide_half_away(1, 0), None);
}

#[test]
fn what_is_no_decimal_is_not_read() {
    for text in ["", "-", ".5", "5.", "+1", "1e3", " 1", "1,000", "0x1", "--1", "1.2.3", "12345678901234567890", "１"]
    {
        assert_eq!(Decimal::parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn a_written_amount_reads_back_as_the_same_minor_units(minor in any::<i64>(), exponent in prop::sample::select(vec![0u8, 2, 3])) {
        let plain = plain_amount(minor, exponent);
        let digits: String = plain.chars().filter(|c| *c != '.').collect();
        prop_assert_eq!(digits.parse::<i64>().expect("digits"), minor);
        let grouped: String = grouped_amount(minor, exponent).replace('−', "-").replace(',', "");
        prop_assert_eq!(grouped, plain);
    }

    #[test]
    fn groups_have_three_digits(minor in any::<i64>()) {
        let grouped = grouped_amount(minor, 0);
        let mut groups = grouped.trim_start_matches('−').split(',');
        prop_assert!((1..=3).contains(&groups.next().expect("one").len()));
        prop_assert!(groups.all(|group| group.len() == 3));
    }

    #[test]
    fn right_sums_pass_and_each_sum_off_by_one_is_refused(
        nets in prop::collection::vec(-1_000_000i64..10_000_000, 1..40),
        rate in 1u32..300_000,
        allowance in 0i64..1_000,
        paid in 0i64..1_000,
        which in 0usize..6,
        by in prop::sample::select(vec![-1i64, 1]),
    ) {
        let mut document = of_nets(&nets, rate, allowance, paid);
        prop_assert_eq!(document.check(), Ok(()));
        let figures = [
            &mut document.subtotal, &mut document.allowance_total, &mut document.tax_total,
            &mut document.total, &mut document.already_paid, &mut document.amount_due,
        ];
        *figures.into_iter().nth(which).expect("six") += by;
        prop_assert!(document.check().is_err());
    }

    #[test]
    fn a_line_is_its_product_to_the_minor_unit(quantity in 0i64..1_000_000_000, price in 0i64..1_000_000_000, scale in 0u32..9) {
        let text = plain_amount(price, u8::try_from(scale).expect("small"));
        let (quantity_read, price_read) = (Decimal::parse(&quantity.to_string()), Decimal::parse(&text));
        let (quantity_read, price_read) = (quantity_read.expect("a decimal"), price_read.expect("a decimal"));
        let exact = i128::from(quantity) * i128::from(price) * 100;
        let expected = divide_half_away(exact, 10i128.pow(scale));
        prop_assert_eq!(quantity_read.times(price_read, 1, 2), expected);
    }

    #[test]
    fn any_text_becomes_characters_of_xml(text in any::<String>()) {
        let line = one_line(&text);
        let is_of_xml = |c: char| !c.is_control() && !['\u{fffe}', '\u{ffff}'].contains(&c);
        prop_assert!(line.chars().all(is_of_xml));
        prop_assert_eq!(one_line(&line), line.clone());
    }
}
