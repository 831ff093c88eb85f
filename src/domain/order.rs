//! What is bought at a checkout: kept as it was shown, so that what is paid is what was shown, whatever prices, coupons and taxes are by
//! the time it is paid.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::catalogue;
use super::closing::{Closed, Closing, MeterPrices, Pending};
use super::invoice::{Discount, LineKind};
use super::money::{Currency, MoneyError};
use super::period::Period;
use super::subscription::{HeldCoupon, Terms};
use super::tax::{TaxRate, Taxation};

/// Sums below this are not charged by themselves but left to the next invoice, in minor units: payment providers refuse to collect
/// pennies.
pub const LEAST_CHARGE_MINOR: i64 = 100;

/// A line of what is due at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderItem {
    /// Names it among the order's.
    pub key: String,
    /// What it says.
    pub description: String,
    /// In minor units, without tax; negative for a credit.
    pub amount_minor: i64,
}

/// Terms that a tenant is about to pay for, and what is due at once for the rest of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// When it was shown: the rest of the period begins here.
    pub at: DateTime<Utc>,
    /// The terms.
    pub terms: Terms,
    /// The coupon that is taken with it.
    pub coupon: Option<HeldCoupon>,
    /// ISO 4217.
    pub currency: String,
    /// What is due at once.
    pub items: Vec<OrderItem>,
    /// What is taken off that.
    pub discount: Option<catalogue::Discount>,
    /// Rate of the tax on it, in millionths; none = the buyer is exempt.
    pub tax_millionths: Option<u32>,
}

impl Order {
    /// The time that is paid for: what is left of the period in which it was shown.
    #[must_use]
    pub fn period(&self) -> Period {
        Period { start: self.at, end: Period::containing(self.at).end }
    }

    /// The invoice of what is due at once.
    ///
    /// # Errors
    /// [`MoneyError`].
    pub fn invoice(&self) -> Result<Closed, MoneyError> {
        let period = self.period();
        let pending = |item: &OrderItem| Pending {
            key: item.key.clone(),
            kind: LineKind::Proration,
            description: item.description.clone(),
            amount_minor: item.amount_minor,
            period,
        };
        let pending: Vec<Pending> = self.items.iter().map(pending).collect();
        let taxation = match self.tax_millionths {
            None => Taxation::EXEMPT,
            Some(rate) => Taxation::at(TaxRate::of_millionths(rate).ok_or(MoneyError::Price)?),
        };
        let closing = Closing {
            period,
            currency: Currency::parse(&self.currency)?,
            prices: &MeterPrices::new(),
            ahead: None,
            used: &[],
            pending: &pending,
            discount: self.discount.map(Discount::from),
            proration_discount: None,
            proration_discount_from: period.start,
            taxation,
        };
        closing.work_out()
    }

    /// Whether what is due at once is on an invoice of its own: it is paid, or a coupon has left nothing of it. Otherwise it waits for
    /// the next invoice.
    ///
    /// # Errors
    /// [`MoneyError`].
    pub fn is_invoiced_at_once(&self) -> Result<bool, MoneyError> {
        let totals = self.invoice()?.totals;
        let is_forgiven = totals.total_minor == 0 && totals.discount_minor > 0;
        Ok(is_forgiven || totals.total_minor >= LEAST_CHARGE_MINOR)
    }

    /// What is to be paid at once, in minor units, tax included; 0 where it is left to the next invoice.
    ///
    /// # Errors
    /// [`MoneyError`].
    pub fn due_minor(&self) -> Result<i64, MoneyError> {
        let total = self.invoice()?.totals.total_minor;
        Ok(if total < LEAST_CHARGE_MINOR { 0 } else { total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(items: &[i64], discount: Option<catalogue::Discount>, tax_millionths: Option<u32>) -> Order {
        let items = items.iter().enumerate().map(|(n, amount_minor)| OrderItem {
            key: format!("item:{n}"),
            description: "rest of the month".to_owned(),
            amount_minor: *amount_minor,
        });
        Order {
            at: DateTime::parse_from_rfc3339("2026-11-22T10:00:00Z").expect("a time").to_utc(),
            terms: Terms { plan: "basic".to_owned(), version: 1, price_minor: 4_900, add_ons: Vec::new() },
            coupon: None,
            currency: "EUR".to_owned(),
            items: items.collect(),
            discount,
            tax_millionths,
        }
    }

    #[test]
    fn what_is_due_has_the_discount_and_the_tax() {
        assert_eq!(order(&[1_421], None, Some(0)).due_minor(), Ok(1_421));
        assert_eq!(order(&[1_421], None, Some(190_000)).due_minor(), Ok(1_691));
        assert_eq!(order(&[1_421], Some(catalogue::Discount::PercentOff(20)), Some(190_000)).due_minor(), Ok(1_353));
        assert_eq!(order(&[1_421], None, None).due_minor(), Ok(1_421));
        let exempt = order(&[1_421], None, None).invoice().expect("small").totals;
        assert_eq!(exempt.taxes[0].taxation, Taxation::EXEMPT);
    }

    #[test]
    fn pennies_and_credits_are_left_to_the_next_invoice() {
        for items in [&[][..], &[99], &[-500], &[400, -500]] {
            let order = order(items, None, Some(0));
            assert_eq!((order.due_minor(), order.is_invoiced_at_once()), (Ok(0), Ok(false)), "{items:?}");
        }
        let forgiven = order(&[1_421], Some(catalogue::Discount::PercentOff(100)), Some(190_000));
        assert_eq!((forgiven.due_minor(), forgiven.is_invoiced_at_once()), (Ok(0), Ok(true)));
        assert_eq!(order(&[400, -500], None, Some(0)).invoice().expect("small").carried_minor, 100);
    }

    #[test]
    fn it_is_kept_as_it_was() {
        let order = order(&[1_421], Some(catalogue::Discount::AmountOffMinor(5)), Some(88_750));
        let kept = serde_json::to_value(&order).expect("JSON");
        assert_eq!(serde_json::from_value::<Order>(kept).expect("an order"), order);
    }
}
