//! The close of a billing period: from what was agreed and what was used to the lines of an invoice.
//!
//! Plans and modules are paid ahead, usage afterwards: the invoice that closes November has December's prices, by what holds at
//! December's first instant, and November's usage beyond what the plan of November's end includes. Whoever leaves
//! in the midst of November pays its usage by the plan that was left.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::invoice::{Discount, Line, LineKind, Totals, carry_credit};
use super::meter::MeterName;
use super::money::{Currency, MoneyError, grouped, sum};
use super::period::Period;
use super::rating::MeterPrice;
use super::tax::Taxation;

/// A module that is paid for besides the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleTerms {
    /// Its name.
    pub name: String,
    /// What an invoice calls it.
    pub title: String,
    /// Price a period, in the currency's smallest unit.
    pub price_minor: i64,
}

/// What is paid for ahead: a plan, and modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// Name of the plan.
    pub plan: String,
    /// Price a period, in the currency's smallest unit.
    pub price_minor: i64,
    /// Modules besides it.
    pub modules: Vec<ModuleTerms>,
}

/// Prices of usage by meter; a meter that is not named is not billed.
pub type MeterPrices = BTreeMap<MeterName, MeterPrice>;

/// A sum that waits for the next invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Names it among the tenant's.
    pub key: String,
    /// What it is for.
    pub kind: LineKind,
    /// What its line says.
    pub description: String,
    /// In the currency's smallest unit; negative for a credit.
    pub amount_minor: i64,
    /// The time that it is for.
    pub period: Period,
}

/// What was used of one meter in one period, and what of it was billed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The meter.
    pub meter: MeterName,
    /// The period.
    pub period: Period,
    /// Used in all, what came late included.
    pub quantity: i64,
    /// What was billed of it, and at what price; none for the period that is closed now. Of an earlier one that had none when it was
    /// closed, 0 was billed.
    pub billed: Option<(i64, MeterPrice)>,
}

/// What a close goes by.
#[derive(Debug, Clone)]
pub struct Closing<'a> {
    /// The period that has ended.
    pub period: Period,
    /// The currency of all prices.
    pub currency: Currency,
    /// Prices of its usage: those of the terms that held last in it, or, if it was left within it, before that
    /// ([`super::usage_terms`]).
    pub prices: &'a MeterPrices,
    /// What holds at the first instant of the period after it; none = nothing is to be paid for then.
    pub ahead: Option<&'a Ahead>,
    /// Usage of the period, and of earlier ones that has grown since.
    pub used: &'a [Used],
    /// What waits.
    pub pending: &'a [Pending],
    /// The coupon of the period after it, off all lines.
    pub discount: Option<Discount>,
    /// The coupon of the period itself, off its prorations: no invoice had them before. If it holds in the period after it, too, it is
    /// the same one, and a share of all lines has taken its share of these.
    pub proration_discount: Option<Discount>,
    /// From when on: what was due before that coupon was taken is not for it.
    pub proration_discount_from: DateTime<Utc>,
    /// How all lines are taxed.
    pub taxation: Taxation,
}

/// What a close comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The lines; none of them, and nothing is to be invoiced, and what waits waits on.
    pub lines: Vec<Line>,
    /// What they come to.
    pub totals: Totals,
    /// Credit that is left for the next invoice, in the currency's smallest unit; not negative.
    pub carried_minor: i64,
    /// What of each meter's usage is billed now, with its price.
    pub billed: Vec<(Used, MeterPrice)>,
}

impl Closing<'_> {
    /// Works it out.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn work_out(&self) -> Result<Closed, MoneyError> {
        let next = Period::containing(self.period.end);
        let mut lines = self.pending.iter().map(|pending| self.pending_line(pending)).collect::<Vec<_>>();
        if let Some(ahead) = self.ahead {
            self.add_ahead(&mut lines, ahead, next);
        }
        let mut billed = Vec::new();
        for used in self.used {
            let price = used.billed.map_or_else(|| self.prices.get(&used.meter).copied(), |(_, price)| Some(price));
            let price = price.unwrap_or_default();
            self.add_usage(&mut lines, used, price)?;
            billed.push((used.clone(), price));
        }
        // Credit alone asks for nothing: it waits until there is something that it can be taken off.
        if lines.len() == self.pending.len() && lines.iter().all(|line| line.amount_minor <= 0) {
            lines.clear();
        }
        let (lines, carried_minor) = carry_credit(lines, self.period, self.taxation)?;
        let totals = Totals::of(self.currency, &lines, self.discount_of(&lines)?)?;
        Ok(Closed { lines, totals, carried_minor, billed })
    }

    fn discount_of(&self, lines: &[Line]) -> Result<Option<Discount>, MoneyError> {
        let Some(own) = self.proration_discount else { return Ok(self.discount) };
        if let (Discount::Share(_), Some(_)) = (own, self.discount) {
            return Ok(self.discount);
        }
        let is_own = |line: &&Line| {
            line.kind == LineKind::Proration
                && Period::containing(line.period.start).start == self.period.start
                && line.period.start >= self.proration_discount_from
        };
        let prorations = sum(lines.iter().filter(is_own).map(|line| line.amount_minor))?;
        let rest = sum(lines.iter().filter(|line| !is_own(line)).map(|line| line.amount_minor))?;
        let off_rest = self.discount.map_or(Ok(0), |discount| discount.off(rest))?;
        Ok(Some(Discount::Amount(own.off(prorations)?.saturating_add(off_rest))))
    }

    fn pending_line(&self, pending: &Pending) -> Line {
        let Pending { key, kind, description, amount_minor, period } = pending;
        Line::flat(*kind, format!("pending:{key}"), description.clone(), *amount_minor, *period, self.taxation)
    }

    fn add_ahead(&self, lines: &mut Vec<Line>, ahead: &Ahead, next: Period) {
        let mut add = |kind, key, text, price_minor| {
            if price_minor != 0 {
                lines.push(Line::flat(kind, key, text, price_minor, next, self.taxation));
            }
        };
        add(LineKind::Plan, format!("plan:{}", ahead.plan), format!("Plan {}", ahead.plan), ahead.price_minor);
        for ModuleTerms { name, title, price_minor } in &ahead.modules {
            add(LineKind::Module, format!("module:{name}"), format!("Module {title}"), *price_minor);
        }
    }

    fn add_usage(&self, lines: &mut Vec<Line>, used: &Used, price: MeterPrice) -> Result<(), MoneyError> {
        let Some(unit_price) = price.overage else { return Ok(()) };
        let Used { meter, period, quantity, billed } = used;
        let (before, kind, key) = match billed {
            None => (0, LineKind::Usage, format!("usage:{meter}")),
            Some((before, _)) => (*before, LineKind::LateUsage, format!("late_usage:{meter}:{}", period.name())),
        };
        let units = price.billable(*quantity).saturating_sub(price.billable(before));
        if units == 0 {
            return Ok(());
        }
        let name = meter.as_str().replace('_', " ");
        let description = match billed {
            Some(_) => format!("Usage: {name} of {}, reported later", period.name()),
            None => format!("Usage: {name} beyond {} included", grouped(price.included, 0)),
        };
        let amount_minor = price.cost_of_more(before, *quantity)?;
        let (period, taxation, quantity) = (*period, self.taxation, units);
        lines.push(Line { key, kind, description, quantity, unit_price, amount_minor, period, taxation });
        Ok(())
    }
}

#[cfg(test)]
#[path = "closing_tests.rs"]
mod tests;
