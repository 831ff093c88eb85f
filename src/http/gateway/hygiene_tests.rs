use actix_web::test::TestRequest;

use super::*;

const LIMITS: HeadLimits = HeadLimits { max_header_bytes: 200, max_url_bytes: 40 };

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> HttpRequest {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = TestRequest::with_uri(target).method(method);
    for header in headers {
        request = request.append_header(*header);
    }
    request.to_http_request()
}

#[test]
fn a_request_is_refused_for_the_first_rule_it_breaks() {
    let long = "x".repeat(200);
    let long_path = format!("/{}", "x".repeat(40));
    for (method, target, headers, expected) in [
        ("GET", "/", &[("X-Tenant-Id", "a")][..], None),
        ("GET", "/", &[("X_Tenant_Id", "a")], Some((HygieneError::HeaderName, 400))),
        ("GET", "/", &[("x.tenant", "a")], Some((HygieneError::HeaderName, 400))),
        ("GET", "/", &[("x!", "a")], Some((HygieneError::HeaderName, 400))),
        ("GET", "/", &[("a", long.as_str())], Some((HygieneError::HeadersTooLarge, 431))),
        ("GET", &long_path, &[], Some((HygieneError::UrlTooLong, 414))),
        ("GET", "/?123456789012345678901234567890123456789", &[], Some((HygieneError::UrlTooLong, 414))),
        ("TRACE", "/", &[], Some((HygieneError::Method, 405))),
        ("CONNECT", "/", &[], Some((HygieneError::Method, 405))),
        ("OPTIONS", "*", &[], None),
        ("GET", "*", &[], Some((HygieneError::Target, 400))),
        ("GET", "example.com:80", &[], Some((HygieneError::Target, 400))),
        ("GET", "ftp://a.example/", &[("host", "a.example")], Some((HygieneError::Target, 400))),
        ("GET", "http://a.example/", &[("host", "A.example")], None),
        ("GET", "http://a.example/", &[("host", "b.example")], Some((HygieneError::HostMismatch, 400))),
        ("GET", "http://a.example/", &[], Some((HygieneError::HostMismatch, 400))),
        ("GET", "/", &[("upgrade", "websocket"), ("connection", "upgrade")], None),
        ("GET", "/", &[("upgrade", "websocket"), ("content-length", "3")], Some((HygieneError::UpgradeWithBody, 400))),
        (
            "GET",
            "/",
            &[("transfer-encoding", "chunked"), ("upgrade", "h2c")],
            Some((HygieneError::UpgradeWithBody, 400)),
        ),
        ("POST", "/", &[("expect", "100-Continue")], None),
        ("POST", "/", &[("expect", "100-continue, x")], Some((HygieneError::Expectation, 417))),
        ("POST", "/", &[("expect", "a-miracle")], Some((HygieneError::Expectation, 417))),
    ] {
        let found = check_request(&request(method, target, headers), &LIMITS).err();
        let found = found.map(|error| (error, error.status().as_u16()));
        assert_eq!(found, expected, "{method} {target} {headers:?}");
    }
}

/// The headers as text, sorted.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

fn value(text: &'static str) -> Option<HeaderValue> {
    Some(HeaderValue::from_static(text))
}

#[test]
fn a_client_cannot_speak_for_the_platform() {
    let context =
        TenantContextHeaders { tenant_id: value("ours"), forwarded_for: value("192.0.2.1"), ..Default::default() };
    for spoof in [
        "X-Tenant-Id",
        "x-TENANT-id",
        "X_Tenant_Id",
        "X-Tenant_Plan",
        "X-Tenant",
        "X-Tenant-Context",
        "X-User-Id",
        "X-User-Roles",
        "X_User_Roles",
        "X-User-Anything",
        "X-Auth-Acr",
        "X-Auth-User",
        "X-Internal-Call",
        "Forwarded",
        "X-Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Prefix",
        "X-Real-IP",
        "X_Real_Ip",
        "X-Request-Id",
        "X-Api-Key",
        "traceparent",
        "X-Original-URL",
        "X-Rewrite-Url",
        "Proxy",
    ] {
        let request = request("GET", "/", &[("host", "t.example"), (spoof, "theirs"), (spoof, "twice")]);
        let out = upstream_headers(&request, &context, Authorization::Forward);
        let expected = ["host: t.example", "x-forwarded-for: 192.0.2.1", "x-tenant-id: ours"];
        assert_eq!(lines(&out), expected, "{spoof}");
    }
}

#[test]
fn connection_removes_what_it_lists_but_nothing_of_ours() {
    let context = TenantContextHeaders { tenant_id: value("ours"), request_id: value("r"), ..Default::default() };
    let request = request(
        "GET",
        "/",
        &[
            ("host", "t.example"),
            ("connection", "x-tenant-id, X-Hop , host"),
            ("connection", "x-request-id,x-other"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("x-kept", "1"),
            ("x-tenant-id", "theirs"),
        ],
    );
    let out = upstream_headers(&request, &context, Authorization::Forward);
    assert_eq!(lines(&out), ["host: t.example", "x-kept: 1", "x-request-id: r", "x-tenant-id: ours"]);
}

#[test]
fn headers_of_the_hop_do_not_pass_upstream() {
    for name in [
        "Connection",
        "Proxy-Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Expect",
        "Content-Length",
    ] {
        let request = request("GET", "/", &[("host", "t.example"), (name, "1"), ("accept", "*/*")]);
        let out = upstream_headers(&request, &TenantContextHeaders::default(), Authorization::Forward);
        assert_eq!(lines(&out), ["accept: */*", "host: t.example"], "{name}");
    }
}

#[test]
fn other_headers_pass_with_all_their_values() {
    let sent =
        [("accept", "a"), ("accept", "b"), ("cookie", "c=d"), ("user-agent", "u"), ("x-trace", ""), ("xtenant", "x")];
    let out = upstream_headers(&request("GET", "/", &sent), &TenantContextHeaders::default(), Authorization::Forward);
    assert_eq!(lines(&out), ["accept: a", "accept: b", "cookie: c=d", "user-agent: u", "x-trace: ", "xtenant: x"]);
}

#[test]
fn a_token_that_the_platform_used_does_not_reach_the_service() {
    let request = request("GET", "/", &[("authorization", "Bearer t")]);
    for (authorization, expected) in [(Authorization::Forward, 1), (Authorization::Withhold, 0)] {
        let out = upstream_headers(&request, &TenantContextHeaders::default(), authorization);
        assert_eq!(out.len(), expected, "{authorization:?}");
    }
}

#[test]
fn every_context_header_is_injected_under_its_name() {
    let context = TenantContextHeaders {
        tenant_id: value("1"),
        tenant_slug: value("2"),
        tenant_plan: value("3"),
        tenant_region: value("4"),
        user_id: value("5"),
        user_roles: value("6"),
        auth_acr: value("7"),
        api_key_id: value("e"),
        request_id: value("8"),
        tenant_context: value("9"),
        traceparent: value("a"),
        forwarded_for: value("b"),
        forwarded_host: value("c"),
        forwarded_proto: value("d"),
    };
    let out = upstream_headers(&request("GET", "/", &[]), &context, Authorization::Withhold);
    let expected = [
        "traceparent: a",
        "x-api-key-id: e",
        "x-auth-acr: 7",
        "x-forwarded-for: b",
        "x-forwarded-host: c",
        "x-forwarded-proto: d",
        "x-request-id: 8",
        "x-tenant-context: 9",
        "x-tenant-id: 1",
        "x-tenant-plan: 3",
        "x-tenant-region: 4",
        "x-tenant-slug: 2",
        "x-user-id: 5",
        "x-user-roles: 6",
    ];
    assert_eq!(lines(&out), expected);
}

#[test]
fn an_answer_keeps_its_cookies_and_loses_the_hop() {
    let mut from = HeaderMap::new();
    for (name, value) in [
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("content-type", "text/plain"),
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("content-length", "3"),
        ("trailer", "x"),
        ("upgrade", "h2c"),
        ("server", "s"),
        ("x-powered-by", "p"),
        ("x-usage", "ai_tokens=3"),
    ] {
        from.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value));
    }
    let mut to = old::HeaderMap::new();
    downstream_headers(&from, &mut to);
    let mut lines: Vec<_> = to.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    assert_eq!(lines, ["content-type: text/plain", "set-cookie: a=1", "set-cookie: b=2"]);
}
