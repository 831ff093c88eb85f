//! Tax groups: each line and allowance has its group, and each group its sum and tax.

use std::collections::BTreeMap;

use super::super::decimal::divide_half_away;
use super::super::{DocumentError, DocumentKind, InvoiceDocument, SellerNumber, TaxCategory, TaxKey};

/// Parts of the whole that a rate counts.
const WHOLE: i128 = 1_000_000;

pub(super) fn check(document: &InvoiceDocument) -> Result<(), DocumentError> {
    let mut bases: BTreeMap<TaxKey, i128> = BTreeMap::new();
    for line in &document.lines {
        *bases.entry(line.tax).or_default() += i128::from(line.net);
    }
    for allowance in &document.allowances {
        *bases.entry(allowance.tax).or_default() -= i128::from(allowance.amount);
    }
    for group in &document.tax_groups {
        let TaxKey { category, rate } = group.tax;
        let wrong = |rule| Err(DocumentError::TaxGroup { category: category.code(), rate, rule });
        if (category == TaxCategory::Standard) == (rate == 0) {
            return wrong("a rate above zero with S and with no other (BR-S-05, BR-Z-05, BR-E-05, BR-AE-05)");
        }
        if category.needs_reason() == group.reason.trim().is_empty() {
            return wrong("the reason why there is no tax with E, AE and O, and with no other (BR-E-10, BR-S-10)");
        }
        let Some(basis) = bases.remove(&group.tax) else {
            return wrong("a group is there once, for lines that there are (BR-S-08)");
        };
        let computed = |what, stated: i64, computed: i128, rule| {
            let stated = i128::from(stated);
            if stated == computed { Ok(()) } else { Err(DocumentError::Sum { what, stated, computed, rule }) }
        };
        computed("the basis of a tax group", group.basis, basis, "BR-S-08: its lines - its allowances")?;
        let tax = basis.checked_mul(i128::from(rate)).and_then(|product| divide_half_away(product, WHOLE));
        let Some(tax) = tax else {
            return wrong("the tax must fit");
        };
        let is_part = matches!(document.kind, DocumentKind::CreditNote { .. });
        // Parts of an invoice come to its tax together, so one of them may differ by a unit from its own.
        if !is_part || (i128::from(group.amount) - tax).abs() > 1 {
            computed("the tax of a group", group.amount, tax, "BR-CO-17: basis × rate, rounded half away from zero")?;
        }
    }
    if let Some((TaxKey { category, rate }, _)) = bases.first_key_value() {
        let rule = "lines without their group (BR-CO-18, BR-S-01)";
        return Err(DocumentError::TaxGroup { category: category.code(), rate: *rate, rule });
    }
    check_parties(document)
}

/// Who must be known to the tax office, by category.
fn check_parties(document: &InvoiceDocument) -> Result<(), DocumentError> {
    let has = |category| document.tax_groups.iter().any(|group| group.tax.category == category);
    let missing = |what, rule| Err(DocumentError::Missing { what, rule });
    if has(TaxCategory::NotSubject) && document.tax_groups.len() > 1 {
        let rule = "stands alone (BR-O-11)";
        return Err(DocumentError::TaxGroup { category: TaxCategory::NotSubject.code(), rate: 0, rule });
    }
    let lacks = document.tax_groups.iter().find_map(|group| document.seller.lacks_as_seller(group.tax.category));
    match lacks {
        None => {}
        Some(SellerNumber::Tax) => {
            return missing("the seller's VAT id or tax number", "BR-S-02, BR-Z-02, BR-E-02, BR-AE-02");
        }
        Some(SellerNumber::Registration) => return missing("the seller's registration or VAT id", "BR-CO-26"),
    }
    if has(TaxCategory::ReverseCharge) && document.buyer.vat_id.is_empty() && document.buyer.registration.is_empty() {
        return missing("the buyer's VAT id or registration", "BR-AE-02");
    }
    Ok(())
}
