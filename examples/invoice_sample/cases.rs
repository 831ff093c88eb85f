//! Documents of each kind, right and wrong.

use businessos::domain::invoice_document::{
    Allowance, BankAccount, DocumentCurrency, DocumentKind, InvoiceDocument, Paper, TaxCategory, TaxGroup, TaxKey,
};

type Named = Vec<(&'static str, InvoiceDocument)>;

/// The invoice of `docs/sample-invoice.pdf`.
pub fn sample() -> Result<InvoiceDocument, serde_json::Error> {
    serde_json::from_str(include_str!("../../docs/sample-invoice.json"))
}

/// The sample with its first line so many times.
pub fn of_lines(n: usize) -> Result<InvoiceDocument, serde_json::Error> {
    let mut document = sample()?;
    document.lines = document.lines.iter().take(1).cycle().take(n).cloned().collect();
    document.allowances.clear();
    Ok(summed(document, TaxCategory::Standard, 190_000, ""))
}

/// Documents that must pass: every category of tax, currencies of all exponents, parties with little and with much.
pub fn right() -> Result<Named, serde_json::Error> {
    let sample = sample()?;
    let mut letter = summed(sample.clone(), TaxCategory::NotSubject, 0, "Not subject to VAT.");
    letter.paper = Paper::Letter;
    letter.currency = DocumentCurrency { code: "USD".to_owned(), exponent: 2 };
    letter.accent = "#0f766e".to_owned();
    letter.seller.name = "Northlight Software, Inc.".to_owned();
    letter.seller.address_lines = vec!["548 Market Street".to_owned(), "Suite 900".to_owned()];
    (letter.seller.city, letter.seller.region) = ("San Francisco".to_owned(), "CA".to_owned());
    (letter.seller.postcode, letter.seller.country) = ("94104".to_owned(), "US".to_owned());
    (letter.seller.vat_id, letter.seller.tax_number) = (String::new(), "84-1234567".to_owned());
    letter.seller.registration = "Delaware 7654321".to_owned();
    letter.payment.bank = Some(BankAccount {
        holder: "Northlight Software, Inc.".to_owned(),
        account_number: "000123456789".to_owned(),
        routing: "121000358".to_owned(),
        bic: "BOFAUS3NXXX".to_owned(),
        bank_name: "Bank of America".to_owned(),
        ..BankAccount::default()
    });
    letter.payment.online_url = "https://pay.northlight.example/i/8f3kq".to_owned();

    let mut credit = sample.clone();
    credit.number = "CN-2026-000007".to_owned();
    credit.kind =
        DocumentKind::CreditNote { invoice_number: sample.number.clone(), invoice_issued_on: sample.issued_on };
    credit.due_on = None;

    let mut paid = sample.clone();
    (paid.already_paid, paid.amount_due, paid.due_on) = (paid.total, 0, None);
    paid.payment.bank = None;

    let mut sparse = summed(sample.clone(), TaxCategory::Zero, 0, "");
    sparse.buyer.address_lines.clear();
    (sparse.buyer.city, sparse.buyer.postcode) = (String::new(), String::new());
    (sparse.buyer.vat_id, sparse.buyer.email) = (String::new(), String::new());
    (sparse.service_period, sparse.buyer_reference) = (None, String::new());
    sparse.lines.truncate(1);
    let sparse = summed(sparse, TaxCategory::Zero, 0, "");

    let mut yen = sample.clone();
    yen.currency = DocumentCurrency { code: "JPY".to_owned(), exponent: 0 };
    yen.lines.truncate(1);
    for line in &mut yen.lines {
        (line.unit_price, line.net) = ("19900".to_owned(), 19_900);
    }
    let mut dinar = yen.clone();
    dinar.currency = DocumentCurrency { code: "KWD".to_owned(), exponent: 3 };
    for line in &mut dinar.lines {
        line.unit_price = "19.900".to_owned();
    }

    let mut odd = sample.clone();
    odd.buyer.name = "شركة النور & <b>株式会社</b> \"🚀\" Çağrı".to_owned();

    Ok(vec![
        ("standard", sample.clone()),
        ("not-subject-letter", letter),
        ("credit-note", credit),
        ("paid", paid),
        ("sparse", sparse),
        (
            "exempt",
            summed(sample.clone(), TaxCategory::Exempt, 0, "Exempt under article 132 of Directive 2006/112/EC."),
        ),
        (
            "reverse-charge",
            summed(sample.clone(), TaxCategory::ReverseCharge, 0, "Reverse charge: the buyer owes the VAT."),
        ),
        ("yen", summed(without_allowance(yen), TaxCategory::Standard, 100_000, "")),
        ("dinar", summed(without_allowance(dinar), TaxCategory::Exempt, 0, "No VAT.")),
        ("two-rates", two_rates(sample)),
        ("odd-text", odd),
        ("many-lines", of_lines(60)?),
    ])
}

/// Documents of which one figure is off by one unit, named by the rule that must see it.
pub fn wrong() -> Result<Named, serde_json::Error> {
    let with = |change: fn(&mut InvoiceDocument)| {
        sample().map(|mut document| {
            change(&mut document);
            document
        })
    };
    Ok(vec![
        ("BR-CO-10", with(|d| d.subtotal += 1)?),
        ("BR-CO-11", with(|d| d.allowance_total += 1)?),
        ("BR-CO-14", with(|d| d.tax_total += 1)?),
        ("BR-CO-15", with(|d| d.total += 1)?),
        ("BR-CO-16", with(|d| d.amount_due -= 1)?),
        ("BR-S-08", with(|d| d.tax_groups.iter_mut().for_each(|group| group.basis += 1))?),
        (
            "BR-CO-26",
            with(|d| {
                d.seller.vat_id.clear();
                d.seller.registration.clear();
            })?,
        ),
    ])
}

fn without_allowance(mut document: InvoiceDocument) -> InvoiceDocument {
    document.allowances.clear();
    document
}

/// Half of the lines at a lower rate.
fn two_rates(mut document: InvoiceDocument) -> InvoiceDocument {
    let low = TaxKey { category: TaxCategory::Standard, rate: 70_000 };
    document.allowances = vec![Allowance { reason: "Coupon".to_owned(), amount: 100, tax: low }];
    for line in document.lines.iter_mut().skip(1).step_by(2) {
        line.tax = low;
    }
    resummed(document, &[(low, "")])
}

/// All in one category of tax, with the sums that follow.
fn summed(mut document: InvoiceDocument, category: TaxCategory, rate: u32, reason: &str) -> InvoiceDocument {
    let tax = TaxKey { category, rate };
    document.lines.iter_mut().for_each(|line| line.tax = tax);
    document.allowances.iter_mut().for_each(|allowance| allowance.tax = tax);
    document.tax_groups.clear();
    resummed(document, &[(tax, reason)])
}

/// Groups and totals from lines and allowances.
fn resummed(mut document: InvoiceDocument, keys: &[(TaxKey, &str)]) -> InvoiceDocument {
    let old = document.tax_groups.iter().map(|group| (group.tax, &*group.reason));
    let keys: Vec<_> = keys.iter().copied().chain(old).collect();
    let groups = keys.iter().map(|(tax, reason)| {
        let lines: i64 = document.lines.iter().filter(|line| line.tax == *tax).map(|line| line.net).sum();
        let off: i64 = document.allowances.iter().filter(|off| off.tax == *tax).map(|off| off.amount).sum();
        let product = (lines - off) * i64::from(tax.rate);
        let amount = (product.abs() + 500_000) / 1_000_000 * product.signum();
        TaxGroup { tax: *tax, basis: lines - off, amount, reason: (*reason).to_owned() }
    });
    document.tax_groups = groups.collect();
    document.subtotal = document.lines.iter().map(|line| line.net).sum();
    document.allowance_total = document.allowances.iter().map(|off| off.amount).sum();
    document.tax_total = document.tax_groups.iter().map(|group| group.amount).sum();
    document.total = document.tax_exclusive() + document.tax_total;
    document.amount_due = document.total - document.already_paid;
    document
}
