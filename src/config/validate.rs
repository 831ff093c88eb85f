//! What the types cannot say: relations between keys, forms of names.

mod billing;
mod catalogue;
mod sso;
mod stripe;

use std::net::IpAddr;

use super::{SessionStore, Settings};
use crate::domain::api_key::is_environment;

/// Every mistake in `settings`, each as `key: found, expected`.
pub(super) fn validate(settings: &Settings) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut check = |ok: bool, text: String| {
        if !ok {
            mistakes.push(text);
        }
    };
    let gateway = &settings.gateway;
    check(
        is_host_name(&gateway.base_domain),
        format!("gateway.base_domain: found {:?}, expected a lower-case host name", gateway.base_domain),
    );
    check(
        matches!(gateway.public_scheme.as_str(), "http" | "https"),
        format!("gateway.public_scheme: found {:?}, expected \"http\" or \"https\"", gateway.public_scheme),
    );
    for host in gateway.hosts.keys() {
        check(is_host_name(host), format!("gateway.hosts: found {host:?}, expected a lower-case host name"));
    }
    for (key, list) in
        [("trusted_proxies", &gateway.trusted_proxies), ("trusted_host_proxies", &gateway.trusted_host_proxies)]
    {
        for network in list {
            check(
                parse_network(network).is_some(),
                format!("gateway.{key}: found {network:?}, expected a network such as \"10.0.0.0/8\""),
            );
        }
    }
    for (index, route) in gateway.routes.iter().enumerate() {
        let key = format!("gateway.routes[{index}] ({})", route.prefix);
        check(
            route.prefix.starts_with('/') && !route.prefix.contains(['?', '#', '%', ' ']),
            format!("{key}.prefix: found {:?}, expected a path such as \"/crm\"", route.prefix),
        );
        check(!route.upstreams.is_empty(), format!("{key}.upstreams: found none, expected at least one URL"));
        for upstream in &route.upstreams {
            check(
                is_upstream(upstream),
                format!(
                    "{key}.upstreams: found {upstream:?}, expected \"http://host:port\" or \"https://host:port\" without a path"
                ),
            );
        }
        if let Some(module) = &route.module {
            check(
                settings.plans.values().any(|plan| plan.modules.contains(module))
                    || settings.modules.contains_key(module),
                format!("{key}.module: found {module:?}, expected a module of one of the plans, or of [modules]"),
            );
        }
    }
    let mut prefixes: Vec<&str> = gateway.routes.iter().map(|route| route.prefix.trim_end_matches('/')).collect();
    prefixes.sort_unstable();
    for pair in prefixes.windows(2) {
        if let [a, b] = pair {
            check(a != b, format!("gateway.routes: found the prefix {a:?} twice, expected each prefix once"));
        }
    }
    check(
        settings.plans.contains_key(&settings.onboarding.default_plan),
        format!("onboarding.default_plan: found {:?}, expected a name of [plans]", settings.onboarding.default_plan),
    );
    check(
        !settings.onboarding.regions.is_empty(),
        "onboarding.regions: found none, expected at least one region".to_owned(),
    );
    check(
        settings.server.tls_cert.is_some() == settings.server.tls_key.is_some(),
        "server.tls_cert, server.tls_key: found one of them, expected both or none".to_owned(),
    );
    check(
        settings.sessions.store != SessionStore::Redis || settings.redis.url.is_some(),
        "redis.url: found none, expected the URL of a Redis because sessions.store is \"redis\"".to_owned(),
    );
    check(
        settings.mail.from.parse::<lettre::message::Mailbox>().is_ok(),
        format!("mail.from: found {:?}, expected a mailbox such as \"Name <name@example.com>\"", settings.mail.from),
    );
    for (key, link) in [
        ("invitation_link", &settings.mail.invitation_link),
        ("onboarding_link", &settings.mail.onboarding_link),
        ("verification_link", &settings.mail.verification_link),
        ("password_reset_link", &settings.mail.password_reset_link),
    ] {
        let is_link = ["/", "https://", "http://"].iter().any(|start| link.starts_with(start));
        check(
            is_link && !link.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#'),
            format!("mail.{key}: found {link:?}, expected a path such as \"/page\" or a URL, without a fragment"),
        );
    }
    for (key, value, min, max) in [
        ("mail.timeout_ms", settings.mail.timeout_ms, 100, 120_000),
        ("auth.invitation_ttl_s", settings.auth.invitation_ttl_s, 60, 7_776_000),
        ("auth.verification_ttl_s", settings.auth.verification_ttl_s, 60, 7_776_000),
        ("auth.password_reset_ttl_s", settings.auth.password_reset_ttl_s, 60, 86_400),
        ("auth.access_token_ttl_s", settings.auth.access_token_ttl_s, 10, 3_600),
        ("auth.refresh_grace_s", settings.auth.refresh_grace_s, 0, 60),
        ("auth.key_rotation_days", u64::from(settings.auth.key_rotation_days), 1, 3_650),
        // A verifier may keep the JWKS for 300 seconds.
        ("auth.key_prepublish_s", settings.auth.key_prepublish_s, 301, 43_200),
        ("auth.key_check_s", settings.auth.key_check_s, 1, 3_600),
        ("limits.tenant_per_minute", u64::from(settings.limits.tenant_per_minute), 1, 100_000_000),
        ("limits.scim_per_minute", u64::from(settings.limits.scim_per_minute), 1, 100_000_000),
        ("limits.tenant_in_flight", u64::from(settings.limits.tenant_in_flight), 1, 1_000_000),
        ("limits.tenant_websockets", u64::from(settings.limits.tenant_websockets), 0, 1_000_000),
        ("tenants.arbiters", settings.tenants.arbiters as u64, 1, 64),
        ("tenants.mailbox_capacity", settings.tenants.mailbox_capacity as u64, 1, 1_000_000),
        ("tenants.passivate_after_s", settings.tenants.passivate_after_s, 1, 31_536_000),
        ("auth.token_cache_entries", settings.auth.token_cache_entries as u64, 1, 10_000_000),
        ("auth.api_key_use_flush_s", settings.auth.api_key_use_flush_s, 1, 3_600),
        ("audit.denials_per_minute", u64::from(settings.audit.denials_per_minute), 1, 10_000),
        ("audit.seal_every_s", settings.audit.seal_every_s, 1, 86_400),
        ("stream.max_per_tenant", settings.stream.max_per_tenant as u64, 1, 100_000),
        ("stream.max_total", settings.stream.max_total as u64, 1, 1_000_000),
        ("stream.poll_ms", settings.stream.poll_ms, 10, 10_000),
        ("stream.queue", settings.stream.queue as u64, 1, 100_000),
        ("stream.ping_s", settings.stream.ping_s, 1, 3_600),
        ("server.max_in_flight", settings.server.max_in_flight as u64, 1, 1_000_000),
        ("gateway.max_header_bytes", gateway.max_header_bytes as u64, 1_024, 131_072),
        ("gateway.max_url_bytes", gateway.max_url_bytes as u64, 128, 65_536),
        ("limits.json_body_bytes", settings.limits.json_body_bytes as u64, 1_024, 67_108_864),
        ("redis.max_connections", settings.redis.max_connections as u64, 1, 10_000),
        ("redis.timeout_ms", settings.redis.timeout_ms, 10, 1_000),
        ("sessions.idle_timeout_s", settings.sessions.idle_timeout_s, 60, 315_360_000),
        ("sessions.absolute_timeout_s", settings.sessions.absolute_timeout_s, 60, 315_360_000),
    ] {
        check((min..=max).contains(&value), format!("{key}: found {value}, expected {min} to {max}"));
    }
    check(
        is_environment(&settings.auth.api_key_env),
        format!("auth.api_key_env: found {:?}, expected 1 to 16 of a-z and 0-9", settings.auth.api_key_env),
    );
    for role in &settings.database.service_roles {
        check(
            is_identifier(role) && !role.starts_with("app_") && !role.starts_with("pg_"),
            format!(
                "database.service_roles: found {role:?}, expected a lower-case name not beginning with app_ or pg_"
            ),
        );
    }
    mistakes.extend(billing::validate(settings));
    mistakes.extend(catalogue::validate(settings));
    mistakes.extend(sso::validate(&settings.sso));
    mistakes.extend(stripe::validate(settings));
    mistakes
}

/// A network in CIDR form, or a single address.
pub(crate) fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?)),
        None => (text.parse::<IpAddr>().ok()?, None),
    };
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(widest);
    (bits <= widest).then_some((address, bits))
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

pub(super) fn is_upstream(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some()
            && uri.path() == "/"
            && uri.query().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_parsed_strictly() {
        assert!(parse_network("10.0.0.0/8").is_some());
        assert!(parse_network("::1").is_some());
        assert!(parse_network("10.0.0.0/33").is_none());
        assert!(parse_network("ten").is_none());
    }

    #[test]
    fn upstreams_have_no_path() {
        assert!(is_upstream("http://127.0.0.1:3100"));
        assert!(is_upstream("https://api.example.com"));
        assert!(!is_upstream("http://127.0.0.1:3100/x"));
        assert!(!is_upstream("ftp://127.0.0.1"));
    }
}
