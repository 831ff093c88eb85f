use super::*;

fn route(prefix: &str, upstream: &str, more: &str) -> RouteSettings {
    toml::from_str(&format!("prefix = \"{prefix}\"\nupstreams = [\"{upstream}\"]\n{more}")).unwrap()
}

fn table(prefixes: &[&str]) -> RouteTable {
    let settings: Vec<_> = prefixes.iter().map(|prefix| route(prefix, "http://127.0.0.1:1", "")).collect();
    RouteTable::build(&settings).unwrap()
}

#[test]
fn the_longest_prefix_of_whole_segments_wins() {
    let table = table(&["/crm", "/crm/admin", "/crm/admin/x/y", "/b.c", "/a"]);
    for (path, expected) in [
        ("/crm", Some("/crm")),
        ("/crm/", Some("/crm")),
        ("/crm/contacts/1", Some("/crm")),
        ("/crmx", None),
        ("/crm-admin", None),
        ("/CRM", None),
        ("/crm/admin", Some("/crm/admin")),
        ("/crm/admin/", Some("/crm/admin")),
        ("/crm/administrator", Some("/crm")),
        ("/crm/admin/x", Some("/crm/admin")),
        ("/crm/admin/x/y/z", Some("/crm/admin/x/y")),
        ("/b.c/x", Some("/b.c")),
        ("/bxc/x", None),
        ("/", None),
        ("/zebra", None),
        ("*", None),
        ("", None),
    ] {
        assert_eq!(table.find(path).ok().map(|route| &**route.label()), expected, "{path}");
    }
}

#[test]
fn a_root_route_takes_what_no_other_takes() {
    let table = table(&["/", "/crm"]);
    for (path, expected) in [("/", "/"), ("/x/y", "/"), ("/crmx", "/"), ("/crm/x", "/crm")] {
        assert_eq!(&**table.find(path).unwrap().label(), expected, "{path}");
    }
    assert_eq!(table.find("*").unwrap_err(), RouteMiss::NoRoute);
}

#[test]
fn an_ambiguous_path_is_refused_where_a_rule_depends_on_it() {
    let table = RouteTable::build(&[
        route("/admin", "http://127.0.0.1:1", ""),
        route("/shared", "http://127.0.0.1:1", "auth = \"none\""),
        route("/open", "http://127.0.0.1:2", "auth = \"none\""),
        route("/paid", "http://127.0.0.1:3", "auth = \"none\"\nmodule = \"crm\""),
    ])
    .unwrap();
    for (path, ambiguous) in [
        ("/admin/a%2fb", true),
        ("/admin/../open", true),
        ("/shared/..%5cadmin", true),
        ("/shared//x", true),
        ("/paid/%2e%2e/x", true),
        ("/open/a%2fb", false),
        ("/open//x", false),
        ("/admin/a%20b", false),
        ("/%61dmin/x", true),
        ("/admin;a=b/x", true),
        ("/open/%61dmin", false),
    ] {
        let miss = table.find(path).err();
        assert_eq!(miss == Some(RouteMiss::AmbiguousPath), ambiguous, "{path}: {miss:?}");
    }
}

#[test]
fn the_target_is_a_slice_of_the_raw_one() {
    for (prefix, strip, target, expected) in [
        ("/crm", true, "/crm/a%20b?q=1&q=%2F", "/a%20b?q=1&q=%2F"),
        ("/crm", true, "/crm", "/"),
        ("/crm", true, "/crm/", "/"),
        ("/crm", true, "/crm?q", "/?q"),
        ("/crm", true, "/crm/crm/x", "/crm/x"),
        ("/crm", false, "/crm/x?y", "/crm/x?y"),
        ("/", true, "/x?y=/", "/x?y=/"),
    ] {
        let table = RouteTable::build(&[route(prefix, "http://h:1", &format!("strip_prefix = {strip}"))]).unwrap();
        assert_eq!(table.routes()[0].upstream_target(target).unwrap().as_str(), expected, "{prefix} {target}");
    }
}

#[test]
fn a_route_may_lead_below_a_path_of_its_service() {
    for (base, target, expected) in [
        ("/v1", "/ai/chat/completions?q", "/v1/chat/completions?q"),
        ("/v1/", "/ai/models", "/v1/models"),
        ("/a/b", "/ai", "/a/b/"),
        ("/v1", "/ai?q", "/v1/?q"),
        ("/", "/ai/models", "/models"),
    ] {
        let more = format!("strip_prefix = true\nupstream_path = \"{base}\"");
        let table = RouteTable::build(&[route("/ai", "http://h:1", &more)]).unwrap();
        assert_eq!(table.routes()[0].upstream_target(target).unwrap().as_str(), expected, "{base} {target}");
    }
}

#[test]
fn a_stranger_is_told_its_own_name() {
    for (upstream, more, expected) in [
        ("http://h:1", "", true),
        ("https://h:1", "", false),
        ("http://127.0.0.1:1", "kind = \"openai\"\nmeter = \"t\"\nprovider_secret = \"a\"", false),
        ("http://h:1", "preserve_host = false", false),
        ("https://h:1", "preserve_host = true", true),
    ] {
        let table = RouteTable::build(&[route("/a", upstream, more)]).unwrap();
        assert_eq!(table.routes()[0].preserves_host(), expected, "{upstream} {more}");
    }
}

#[test]
fn a_mistake_is_named_with_its_route_and_key() {
    for (prefix, upstream, more, key) in [
        ("crm", "http://h:1", "", "prefix"),
        ("", "http://h:1", "", "prefix"),
        ("/crm/", "http://h:1", "", "prefix"),
        ("/c//m", "http://h:1", "", "prefix"),
        ("/c/../m", "http://h:1", "", "prefix"),
        ("/c%6D", "http://h:1", "", "prefix"),
        ("/c?m", "http://h:1", "", "prefix"),
        ("/ok", "http://h:1", "", "prefix"),
        ("/crm", "ftp://h:1", "", "upstreams"),
        ("/crm", "https://h:1/path", "", "upstreams"),
        ("/crm", "http://h:1", "upstream_path = \"v1\"", "upstream_path"),
        ("/crm", "http://h:1", "upstream_path = \"/v1/../x\"", "upstream_path"),
        ("/crm", "http://h:1", "upstream_path = \"/v1?x\"", "upstream_path"),
        ("/crm", "http://h:1", "meter = \"calls\"\nmeter_quantity = 0", "meter_quantity"),
        ("/crm", "http://h:1", "provider_secret = \"openai\"", "provider_secret"),
        ("/ai", "http://h:1", "kind = \"openai\"\nprovider_secret = \"openai\"", "meter"),
        ("/ai", "http://h:1", "kind = \"openai\"\nmeter = \"t\"", "provider_secret"),
        ("/ai", "http://h:1", "kind = \"openai\"\nmeter = \"t\"\nprovider_secret = \"A\"", "provider_secret"),
        ("/ai", "http://h:1", "kind = \"openai\"\nmeter = \"t\"\nprovider_secret = \"a\"\nauth = \"none\"", "auth"),
        (
            "/ai",
            "https://h:1",
            "kind = \"openai\"\nmeter = \"t\"\nprovider_secret = \"a\"\nwebsocket = true",
            "websocket",
        ),
        ("/ai", "http://h:1", "kind = \"openai\"\nmeter = \"t\"\nprovider_secret = \"a\"", "upstreams"),
        ("/ai", "http://10.0.0.1:1", "kind = \"openai\"\nmeter = \"t\"\nprovider_secret = \"a\"", "upstreams"),
        ("/ai", "http://localhost.com", "kind = \"openai\"\nmeter = \"t\"\nprovider_secret = \"a\"", "upstreams"),
        ("/crm", "http://h:1", "idempotency_key_ttl_h = 0", "idempotency_key_ttl_h"),
        ("/crm", "h:1", "", "upstreams"),
        ("/crm", "http://h:0", "", "upstreams"),
        ("/crm", "http://h:99999", "", "upstreams"),
        ("/crm", "http://u@h:1", "", "upstreams"),
        ("/crm", "http://h:1/path", "", "upstreams"),
        ("/crm", "http://h:1?q", "", "upstreams"),
        ("/crm", "http://h:1", "health_path = \"health\"", "health_path"),
        ("/crm", "http://h:1", "idle_timeout_ms = 0", "idle_timeout_ms"),
    ] {
        let routes = [route("/ok", "http://h:1", ""), route(prefix, upstream, more)];
        let error = RouteTable::build(&routes).unwrap_err();
        assert_eq!((error.index, error.key), (1, key), "{prefix} {upstream} {more}: {error}");
        assert!(error.to_string().starts_with(&format!("gateway.routes[1] (prefix {prefix:?}): {key}: ")), "{error}");
    }
}

#[test]
fn a_key_goes_by_tls_or_not_off_the_machine() {
    let kind = "kind = \"openai\"\nmeter = \"t\"\nprovider_secret = \"a\"";
    for url in ["https://h", "http://127.0.0.9:1", "http://[::1]:1", "http://localhost:1", "http://ai.localhost"] {
        assert!(RouteTable::build(&[route("/ai", url, kind)]).is_ok(), "{url}");
    }
}

#[test]
fn upstreams_are_addresses_or_names() {
    for (url, expected) in [
        ("http://127.0.0.1:8080", Address::Ip("127.0.0.1:8080".parse().unwrap())),
        ("http://[::1]:8080/", Address::Ip("[::1]:8080".parse().unwrap())),
        ("http://crm.internal", Address::Name("crm.internal".into(), 80)),
        ("https://crm.internal", Address::Name("crm.internal".into(), 443)),
        ("https://127.0.0.1:8443/", Address::Ip("127.0.0.1:8443".parse().unwrap())),
    ] {
        let upstream = Upstream::parse(url).unwrap();
        assert_eq!(upstream.address, expected, "{url}");
        assert_eq!(upstream.server_name.is_some(), url.starts_with("https"), "{url}");
    }
}

#[test]
fn an_endpoint_that_stays_keeps_its_state() {
    let before = RouteTable::build(&[route("/a", "http://h:1", ""), route("/b", "http://h:2", "")]).unwrap();
    let kept = &before.routes()[0].endpoints()[0];
    for _ in 0..5 {
        kept.record_connect_failure();
    }
    let after = RouteTable::build_from(
        &[route("/c", "http://h:1", "strip_prefix = true"), route("/b", "http://h:3", "")],
        None,
        Some(&before),
    )
    .unwrap();
    assert_eq!(after.routes()[0].endpoints()[0].id(), kept.id());
    assert!(!after.routes()[0].endpoints()[0].is_healthy());
    assert_ne!(after.routes()[1].endpoints()[0].id(), before.routes()[1].endpoints()[0].id());
}

#[test]
fn routes_with_the_same_upstream_share_its_endpoint() {
    let table = RouteTable::build(&[route("/a", "http://h:1", ""), route("/b", "http://h:1", "")]).unwrap();
    assert_eq!(table.routes()[0].endpoints()[0].id(), table.routes()[1].endpoints()[0].id());
}
