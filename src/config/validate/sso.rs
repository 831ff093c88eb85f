//! `[sso]`.

use crate::config::SsoSettings;

/// Every mistake, each as `key: found, expected`.
pub(super) fn validate(settings: &SsoSettings) -> Vec<String> {
    let SsoSettings {
        allow_private_addresses: _,
        ca_file: _,
        timeout_ms,
        dns_server: _,
        flow_ttl_s,
        code_ttl_s,
        keys_cooldown_s,
        domain_claim_ttl_s,
        domain_recheck_s,
        metadata_refresh_s,
    } = settings;
    [
        ("sso.timeout_ms", *timeout_ms, 100, 30_000),
        ("sso.flow_ttl_s", *flow_ttl_s, 60, 3_600),
        // RFC 9700 and ASVS 10.4: a code lives for seconds.
        ("sso.code_ttl_s", *code_ttl_s, 5, 60),
        ("sso.keys_cooldown_s", *keys_cooldown_s, 1, 3_600),
        ("sso.domain_claim_ttl_s", *domain_claim_ttl_s, 60, 2_592_000),
        ("sso.domain_recheck_s", *domain_recheck_s, 60, 604_800),
        ("sso.metadata_refresh_s", *metadata_refresh_s, 60, 604_800),
    ]
    .into_iter()
    .filter(|(_, value, min, max)| !(min..=max).contains(&value))
    .map(|(key, value, min, max)| format!("{key}: found {value}, expected {min} to {max}"))
    .collect()
}
