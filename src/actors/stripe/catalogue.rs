//! What is sold, at Stripe: a product for each plan and module, a price for each of their versions.

use serde_json::{Value, json};

use super::{Desk, PaymentError, text};
use crate::domain::stripe::intent::{Intent, Operation};

/// A version of a plan or module that costs something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueItem {
    /// Its name in the configuration, 1 to 40 characters.
    pub code: String,
    /// Its name for people.
    pub name: String,
    /// Its version; none for what has no versions, such as a module: then a price is known by its amount.
    pub version: Option<u32>,
    /// Price of a month, in minor units.
    pub amount_minor: i64,
    /// ISO 4217, capitals.
    pub currency: String,
}

impl CatalogueItem {
    /// What the price is found by: `basic_v1_usd`, `module_crm_1500_usd`.
    #[must_use]
    pub fn lookup_key(&self) -> String {
        let Self { code, version, amount_minor, currency, .. } = self;
        let currency = currency.to_ascii_lowercase();
        match version {
            Some(version) => format!("{code}_v{version}_{currency}"),
            None => format!("{code}_{amount_minor}_{currency}"),
        }
    }
}

impl Desk {
    /// Sees to it that what the configuration sells is known at Stripe; returns how many prices that are.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn sync_settings(&self) -> Result<u64, PaymentError> {
        let currency = &self.settings.billing.currency;
        let plans = self.settings.plans.iter().map(|(name, plan)| CatalogueItem {
            code: name.clone(),
            name: plan.title.clone().unwrap_or_else(|| name.clone()),
            version: Some(plan.version),
            amount_minor: plan.price_minor,
            currency: currency.clone(),
        });
        let modules =
            self.settings.modules.iter().map(|(name, module)| self.module(name, module.price_minor, currency));
        let sold: Vec<CatalogueItem> = plans.chain(modules).filter(|item| item.amount_minor > 0).collect();
        self.sync_catalogue(&sold).await
    }

    /// A module at the price at which somebody has it.
    pub(super) fn module(&self, name: &str, amount_minor: i64, currency: &str) -> CatalogueItem {
        let title = self.settings.modules.get(name).map_or(name, |module| module.title.as_str());
        CatalogueItem {
            code: format!("module_{name}"),
            name: title.to_owned(),
            version: None,
            amount_minor,
            currency: currency.to_owned(),
        }
    }

    /// Sees to it that everything that is sold is known at Stripe; returns how many prices that are. Prices that are sold no more
    /// stay: subscriptions keep their version.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn sync_catalogue(&self, items: &[CatalogueItem]) -> Result<u64, PaymentError> {
        let mut n = 0;
        for item in items {
            self.ensure_price(item).await?;
            n += 1;
        }
        Ok(n)
    }

    /// Id of the price of a version, which is made if it is not there.
    ///
    /// # Errors
    /// [`PaymentError::PriceDiffers`] if Stripe has it with another amount; [`PaymentError`].
    pub async fn ensure_price(&self, item: &CatalogueItem) -> Result<String, PaymentError> {
        let lookup_key = item.lookup_key();
        let page = self.page("/v1/prices", &json!({ "lookup_keys": [lookup_key] }), None).await?;
        let price = match page.data.into_iter().next() {
            Some(price) => price,
            None => self.make_price(item, &lookup_key).await?,
        };
        let currency = item.currency.to_ascii_lowercase();
        let is_same = price.get("unit_amount").and_then(Value::as_i64) == Some(item.amount_minor)
            && price.get("currency").and_then(Value::as_str) == Some(currency.as_str());
        if is_same { text(&price, "id", "price") } else { Err(PaymentError::PriceDiffers(lookup_key)) }
    }

    async fn make_price(&self, item: &CatalogueItem, lookup_key: &str) -> Result<Value, PaymentError> {
        let product = Intent {
            operation: Operation::CreateProduct,
            target: None,
            params: json!({ "name": item.name, "metadata": { "code": item.code } }),
            key: format!("product:{}", item.code),
        };
        let product = match self.perform(self.platform, &product).await {
            // It was made under another name for people: the product is the code's.
            Err(PaymentError::KeyTaken(key)) => self.resume(self.platform, &key).await?,
            other => other?,
        };
        let price = Intent {
            operation: Operation::CreatePrice,
            target: None,
            params: json!({
                "product": text(&product, "id", "product")?, "currency": item.currency.to_ascii_lowercase(),
                "unit_amount": item.amount_minor, "recurring": { "interval": "month" }, "lookup_key": lookup_key,
            }),
            key: format!("price:{lookup_key}:{}", item.amount_minor),
        };
        self.perform(self.platform, &price).await
    }
}
