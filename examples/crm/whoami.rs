//! What a service gets to see of a request, to look at. A service of your own leaves this out.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, get};
use serde_json::json;

use crate::tenant::Tenant;

/// The headers that are shown. The gateway injects them, and takes away what a client sends under these names.
const SHOWN: [&str; 6] = ["x-tenant", "x-user", "x-auth", "x-request-id", "x-forwarded", "traceparent"];

/// Answers the injected headers and the verified context. Of the client's own credentials it only tells whether they came
/// through, because nobody should ever print those.
#[get("/whoami")]
pub async fn whoami(tenant: Tenant, request: HttpRequest) -> HttpResponse {
    let mut headers: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (name, value) in request.headers() {
        // Many frameworks take `_` for `-`, so a gateway must not let such twins pass: they would show here.
        let dashed = name.as_str().replace('_', "-");
        if SHOWN.iter().any(|shown| dashed.starts_with(shown)) {
            headers.entry(name.as_str()).or_default().push(String::from_utf8_lossy(value.as_bytes()));
        }
    }
    // A header that was sent twice shows as "a, b".
    let headers: BTreeMap<_, _> = headers.into_iter().map(|(name, values)| (name, values.join(", "))).collect();
    HttpResponse::Ok().json(json!({
        "headers": headers,
        "authorization": request.headers().contains_key("authorization"),
        "cookie": request.headers().contains_key("cookie"),
        "context": tenant.context(),
    }))
}
