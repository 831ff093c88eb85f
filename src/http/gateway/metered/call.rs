//! One metered call, from what was set aside for it to its record.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web;

use super::background;
use crate::actors::billing_meter::reservations;
use crate::actors::billing_meter::spool::{GATEWAY, SpoolError};
use crate::clock;
use crate::domain::ids::{ReservationId, TenantId};
use crate::domain::meter::{Aggregation, MeterName};
use crate::domain::usage::{MAX_QUANTITY, UsageRecord};
use crate::http::context::Places;
use crate::http::state::AppState;

/// Usage that was set aside for a call. Dropped, it is given back; if that fails, it runs out by itself.
pub(in crate::http) struct Held {
    state: web::Data<AppState>,
    tenant: TenantId,
    id: Option<ReservationId>,
}

impl Held {
    /// Takes charge of what was set aside.
    pub(in crate::http) fn new(state: &web::Data<AppState>, tenant: TenantId, id: ReservationId) -> Self {
        Self { state: state.clone(), tenant, id: Some(id) }
    }

    /// It is in a record now, and given back when that is counted.
    fn commit(mut self) {
        self.id = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let (state, tenant) = (self.state.clone(), self.tenant);
        background::spawn(&self.state.drain, async move {
            if let Err(error) = reservations::release(&state.db, tenant, id).await {
                tracing::warn!(tenant.id = %tenant, %error, "what was set aside for a call is given back when it runs out");
            }
        });
    }
}

/// A call that is counted, unless it is dropped before.
pub(in crate::http) struct MeteredCall {
    pub(super) state: web::Data<AppState>,
    tenant: TenantId,
    meter: MeterName,
    key: Option<String>,
    dims: BTreeMap<String, String>,
    held: Option<Held>,
    places: Places,
}

impl MeteredCall {
    /// A call of which nothing is known but its meter.
    pub(in crate::http) fn new(
        state: &web::Data<AppState>,
        tenant: TenantId,
        meter: MeterName,
        held: Option<Held>,
    ) -> Self {
        Self { state: state.clone(), tenant, meter, key: None, dims: BTreeMap::new(), held, places: Places::default() }
    }

    /// Keeps the places of its request until it is counted or given up.
    #[must_use]
    pub(in crate::http) fn in_places(mut self, places: Places) -> Self {
        self.places = places;
        self
    }

    /// Names the event: another call of that name is the same event again.
    #[must_use]
    pub(in crate::http) fn named(mut self, key: Option<String>) -> Self {
        self.key = key;
        self
    }

    /// Adds what else is known. The event gets a name of its own, if it has none yet.
    #[must_use]
    pub(in crate::http) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.add(name, value);
        self
    }

    /// Adds what else is known.
    pub(super) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.dims.insert(name.to_owned(), value.into());
    }

    /// Writes the call down. What is more than an event may hold is cut off at that.
    ///
    /// # Errors
    /// [`SpoolError`]: nothing was counted, and the call must not complete.
    pub(in crate::http) fn count(self, quantity: u64) -> Result<(), SpoolError> {
        let Self { state, tenant, meter, key, dims, held, places: _places } = self;
        let reservation = held.as_ref().and_then(|held| held.id);
        let quantity = i64::try_from(quantity).unwrap_or(MAX_QUANTITY).min(MAX_QUANTITY);
        let is_sum = state.settings.meters.get(&meter).is_some_and(|meter| meter.aggregation == Aggregation::Sum);
        if is_sum && key.is_none() && held.is_none() && dims.is_empty() {
            let added = state.spool.add(tenant, &meter, quantity, clock::now());
            return added.inspect_err(|error| refused(&state, tenant, error));
        }
        // Never a word of the client's alone: it could give all its calls the same.
        let needs_name = reservation.is_some() || !dims.is_empty();
        let record = UsageRecord {
            tenant,
            meter,
            quantity,
            occurred_at: clock::now(),
            key: key.or_else(|| needs_name.then(|| clock::new_id::<uuid::Uuid>().to_string())),
            source: GATEWAY.to_owned(),
            dims,
            reservation,
        };
        match state.spool.append(&record) {
            Ok(()) => {
                if let Some(held) = held {
                    held.commit();
                }
                Ok(())
            }
            Err(error) => {
                refused(&state, tenant, &error);
                Err(error)
            }
        }
    }

    /// The drain that waits for work on this call.
    pub(super) fn drain(&self) -> &Arc<crate::http::drain::Drain> {
        &self.state.drain
    }
}

fn refused(state: &AppState, tenant: TenantId, error: &SpoolError) {
    state.metrics.metering.refused_records.inc();
    tracing::error!(tenant.id = %tenant, error = error as &dyn std::error::Error, "usage was not written down");
}
