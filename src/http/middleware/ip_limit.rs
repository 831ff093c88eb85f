//! The limit for each client address, before anything costs much. The only file that uses `actix-governor`: replacing it by
//! `governor` here would lift the GPL from the program.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_governor::governor::NotUntil;
use actix_governor::governor::clock::{Clock, DefaultClock, QuantaInstant};
use actix_governor::governor::middleware::NoOpMiddleware;
use actix_governor::{Governor, GovernorConfig, GovernorConfigBuilder, KeyExtractor, SimpleKeyExtractionError};
use actix_web::dev::ServiceRequest;
use actix_web::{HttpResponse, HttpResponseBuilder, web};

use super::edge::ceil_s;
use crate::domain::ids::TenantId;
use crate::http::context::RequestContext;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;
use crate::http::tenancy;

/// The key of the limit: an IPv4 address, or the /64 that one IPv6 customer has at least. An identity provider calls for all of its
/// customers from a few addresses, so that its calls are counted for each tenant apart; only a tenant that is active here counts, so
/// that made-up names are no way round the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByAddress;

/// Where identity providers call.
const SCIM: &str = "/scim/v2/";

impl KeyExtractor for ByAddress {
    type Key = (IpAddr, Option<TenantId>);
    type KeyExtractionError = SimpleKeyExtractionError<&'static str>;

    fn extract(&self, request: &ServiceRequest) -> Result<Self::Key, Self::KeyExtractionError> {
        let context = RequestContext::of(request.request());
        let ip = context.as_ref().and_then(|context| context.client_ip);
        // Without an address (a socket of the machine itself) all share one key.
        let ip = ip.map_or(IpAddr::from([0, 0, 0, 0]), network_of);
        let is_scim = request.path().starts_with(SCIM);
        let tenant = match (context, request.app_data::<web::Data<AppState>>()) {
            (Some(context), Some(state)) if is_scim => tenancy::active_of(request.request(), state, &context),
            _ => None,
        };
        Ok((ip, tenant))
    }

    fn exceed_rate_limit_response(
        &self,
        negative: &NotUntil<QuantaInstant>,
        _response: HttpResponseBuilder,
    ) -> HttpResponse {
        let wait = negative.wait_time_from(DefaultClock::default().now());
        Problem::new(&kinds::RATE_LIMITED, "too many requests from this address").retry_after(ceil_s(wait)).response()
    }
}

fn network_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::from((u128::from(ip) & !u128::from(u64::MAX)).to_be_bytes()),
    }
}

/// The limit, shared by all workers.
#[derive(Clone)]
pub struct IpLimit {
    config: Arc<GovernorConfig<ByAddress, NoOpMiddleware<QuantaInstant>>>,
    is_on: bool,
}

impl IpLimit {
    /// Lets `per_minute` requests of one address pass in a minute, all at once if they come so; 0 = no limit.
    #[must_use]
    pub fn per_minute(per_minute: u32) -> Option<Self> {
        let burst = per_minute.max(1);
        let config = GovernorConfigBuilder::default()
            .key_extractor(ByAddress)
            .period(Duration::from_secs(60) / burst)
            .burst_size(burst)
            .finish()?;
        Some(Self { config: Arc::new(config), is_on: per_minute > 0 })
    }

    /// Whether there is a limit at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// The middleware of one worker.
    #[must_use]
    pub fn middleware(&self) -> Governor<ByAddress, NoOpMiddleware<QuantaInstant>> {
        Governor::new(&self.config)
    }

    /// Forgets addresses that are back at their full allowance; without this every address ever seen stays in memory.
    pub fn forget_idle(&self) {
        let limiter = self.config.limiter();
        limiter.retain_recent();
        limiter.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ipv6_customer_is_one_key() {
        let key = |text: &str| network_of(text.parse().expect("an address"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("1.1.1.1"), key("1.1.1.2"));
    }
}
