use super::*;

fn policy(rules: &[(&str, Role)], default: Role) -> RolePolicy {
    let rules = rules.iter().map(|(value, role)| RoleRule { value: (*value).to_owned(), role: *role }).collect();
    RolePolicy { claim: Some("groups".to_owned()), rules, default }
}

fn values(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn the_first_rule_that_fits_gives_the_role() {
    let policy = policy(&[("it", Role::Admin), ("accounts", Role::Billing)], Role::Member);
    assert_eq!(policy.role_of(&values(&["accounts", "it"])), Role::Admin);
    assert_eq!(policy.role_of(&values(&["accounts"])), Role::Billing);
    assert_eq!(policy.role_of(&values(&["IT"])), Role::Member);
    assert_eq!(policy.role_of(&[]), Role::Member);
}

#[test]
fn no_provider_makes_an_operator_whatever_is_stored() {
    let policy = policy(&[("root", Role::Operator)], Role::Operator);
    assert_eq!(policy.role_of(&values(&["root"])), Role::Member);
    assert_eq!(policy.role_of(&[]), Role::Member);
    let pointers: Vec<_> = policy.mistakes(ConnectionKind::Oidc).into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(pointers, ["/role_map/0/role", "/default_role"]);
}

#[test]
fn an_owner_is_made_by_a_rule_and_not_by_default() {
    assert!(policy(&[("board", Role::Owner)], Role::Member).mistakes(ConnectionKind::Oidc).is_empty());
    assert_eq!(policy(&[], Role::Owner).mistakes(ConnectionKind::Oidc).len(), 1);
}

#[test]
fn rules_need_a_claim() {
    let policy = RolePolicy { claim: None, ..policy(&[("it", Role::Admin)], Role::Member) };
    assert_eq!(policy.mistakes(ConnectionKind::Oidc).first().map(|(pointer, _)| pointer.as_str()), Some("/role_claim"));
}

#[test]
fn a_providers_second_factor_counts_where_it_is_trusted_and_dated() {
    let proof = |acr: Option<&str>, amr: &[&str], auth_time_s| ProviderProof {
        acr: acr.map(str::to_owned),
        amr: values(amr),
        auth_time_s,
    };
    let listed = values(&["urn:mfa"]);
    for (proof, trusts, expected) in [
        (proof(None, &["pwd", "otp"], Some(1)), true, Acr::Aal2),
        (proof(Some("urn:mfa"), &[], Some(1)), true, Acr::Aal2),
        (proof(Some("urn:mfa"), &["otp"], Some(1)), false, Acr::Aal1),
        (proof(None, &["pwd", "otp"], None), true, Acr::Aal1),
        (proof(Some("urn:other"), &["pwd"], Some(1)), true, Acr::Aal1),
        (proof(None, &["OTP", "mfa "], Some(1)), true, Acr::Aal1),
    ] {
        assert_eq!(assurance(&proof, trusts, &listed), expected, "{proof:?} {trusts}");
    }
}

#[test]
fn browsers_are_sent_to_the_tenants_own_host_or_to_listed_addresses_only() {
    let listed = values(&["https://app.example.com/done"]);
    for good in ["/", "/app?tab=1", "https://app.example.com/done"] {
        assert!(may_return_to(good, &listed), "{good}");
    }
    for bad in [
        "",
        "//evil.example",
        "/\\evil.example",
        "https://app.example.com/done/x",
        "https://app.example.com/done?x",
        "https://app.example.com",
        "https://evil.example/",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: x",
        "/a b",
        "/ä",
        "app",
        "/a#b",
    ] {
        assert!(!may_return_to(bad, &listed), "{bad}");
    }
    assert!(!may_return_to(&format!("/{}", "a".repeat(2_000)), &listed));
}

#[test]
fn entra_is_known_by_its_hosts() {
    let entra = "https://login.microsoftonline.com/8f6bd982-92c3-4de0-985d-0e287c55e379/v2.0";
    assert_eq!(SubjectFrom::of_issuer(entra), SubjectFrom::TidOid);
    for other in ["https://login.microsoftonline.com.evil.example/v2.0", "https://acme.okta.com", "nonsense"] {
        assert_eq!(SubjectFrom::of_issuer(other), SubjectFrom::Sub, "{other}");
    }
    for from in [SubjectFrom::Sub, SubjectFrom::TidOid] {
        assert_eq!(SubjectFrom::parse(from.as_str()), Some(from));
    }
    for kind in [ConnectionKind::Oidc, ConnectionKind::Saml] {
        assert_eq!(ConnectionKind::parse(kind.as_str()), Some(kind));
    }
}

#[test]
fn a_page_of_an_origin_is_nobody_elses() {
    let origin = "https://app.acme.example";
    for page in ["https://app.acme.example/", "https://app.acme.example/a?b=c"] {
        assert!(is_page_of(page, origin), "{page}");
    }
    for other in [
        "https://app.acme.example",
        "https://app.acme.example.evil.example/",
        "https://app.acme.example:8443/",
        "https://app.acme.example@evil.example/",
        "http://app.acme.example/",
        "https://app.acme.example/a#b",
        "https://app.acme.example\\@evil.example/",
        "https://APP.acme.example/",
        "/a",
    ] {
        assert!(!is_page_of(other, origin), "{other}");
    }
}
