//! Access tokens that must not be believed.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::helpers::{Session, routes, spawn_app};
use crate::upstream::Upstream;

fn part(text: &str) -> Value {
    serde_json::from_slice(&BASE64.decode(text).unwrap()).unwrap()
}

fn encode(value: &Value) -> String {
    BASE64.encode(value.to_string())
}

/// Tokens made from a good one, each with a name.
fn forgeries(good: &str, jwks: &Value) -> Vec<(&'static str, String)> {
    let [header, payload, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let (head, claims) = (part(header), part(payload));
    let with_head = |name: &str, value: Value| {
        let mut head = head.clone();
        head[name] = value;
        format!("{}.{payload}.{signature}", encode(&head))
    };
    let with_claim = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        format!("{header}.{}.{signature}", encode(&claims))
    };
    let mut forged = vec![
        ("empty", String::new()),
        ("one part", "abc".into()),
        ("dots", "..".into()),
        ("no signature", format!("{header}.{payload}.")),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{good}.{signature}")),
        ("truncated", good[..good.len() - 1].into()),
        ("zero signature", format!("{header}.{payload}.{}", BASE64.encode([0; 64]))),
        ("crit", with_head("crit", json!(["exp"]))),
        ("jwk in the header", with_head("jwk", jwks["keys"][0].clone())),
        ("jku in the header", with_head("jku", json!("http://127.0.0.1:1/"))),
        ("kid of nobody", with_head("kid", json!("nobody"))),
        ("kid with a path", with_head("kid", json!("../../dev/null"))),
        ("another type", with_head("typ", json!("JWT"))),
        ("another algorithm", with_head("alg", json!("ES384"))),
        ("another role", with_claim("roles", json!(["operator"]))),
        ("another user", with_claim("sub", json!(uuid::Uuid::nil()))),
        ("a longer life", with_claim("exp", json!(9_999_999_999_u64))),
        ("deep JSON", format!("{}.{payload}.{signature}", BASE64.encode("[".repeat(3_000)))),
    ];
    // Places where a key or its address could be smuggled in, and things that no token of ours has.
    for (name, value) in [
        ("jwk", jwks["keys"][0].clone()),
        ("jku", json!("http://127.0.0.1:1/jwks.json")),
        ("x5u", json!("http://127.0.0.1:1/x.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("b64", json!(false)),
        ("crit", json!(["b64"])),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
    ] {
        forged.push(("a member of the header that is not ours", with_head(name, value)));
    }
    for kid in ["../../../../etc/passwd", "' OR '1'='1", "x\0", "", "*", "00000000-0000-0000-0000-000000000000"] {
        forged.push(("a strange kid", with_head("kid", json!(kid))));
    }
    for kid in [json!(null), json!(1), json!(["a"]), json!({})] {
        forged.push(("a kid that is no text", with_head("kid", kid)));
    }
    for typ in
        ["JWT", "jwt", "id+jwt", "tenant-context+jwt", "audit-checkpoint+jwt", "at+JWT", "application/at+jwt", ""]
    {
        forged.push(("another type", with_head("typ", json!(typ))));
    }
    for alg in ["nOnE", "HS256", "HS512", "RS256", "PS256", "ES512", "EdDSA", "es256", "ES256 "] {
        forged.push(("another algorithm", with_head("alg", json!(alg))));
    }
    forged.extend(malformed_parts(header, payload, signature));
    for alg in ["none", "None", "NONE", ""] {
        let mut unsigned = head.clone();
        unsigned["alg"] = alg.into();
        forged.push(("alg none", format!("{}.{payload}.", encode(&unsigned))));
        forged.push(("alg none, signed", format!("{}.{payload}.{signature}", encode(&unsigned))));
    }
    // The public key as an HMAC secret, in the forms a library might feed to it.
    let jwk = &jwks["keys"][0];
    let coordinates =
        [jwk["x"].as_str().unwrap(), jwk["y"].as_str().unwrap()].map(|text| BASE64.decode(text).unwrap()).concat();
    let point = [vec![4], coordinates].concat();
    for secret in [jwk.to_string().into_bytes(), point] {
        let mut head = Header::new(Algorithm::HS256);
        head.typ = Some("at+jwt".to_owned());
        head.kid = Some(jwk["kid"].as_str().unwrap().to_owned());
        forged.push(("HS256", jsonwebtoken::encode(&head, &claims, &EncodingKey::from_secret(&secret)).unwrap()));
    }
    // A good signature, but by somebody else's key under the tenant's key id.
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let mut head = Header::new(Algorithm::ES256);
    head.typ = Some("at+jwt".to_owned());
    head.kid = Some(jwk["kid"].as_str().unwrap().to_owned());
    forged.push((
        "another key",
        jsonwebtoken::encode(&head, &claims, &EncodingKey::from_ec_der(pkcs8.as_ref())).unwrap(),
    ));
    forged
}

/// The parts of a good token, written in ways that a lenient reader might take.
fn malformed_parts(header: &str, payload: &str, signature: &str) -> Vec<(&'static str, String)> {
    let whole = |header: &str, payload: &str, signature: &str| format!("{header}.{payload}.{signature}");
    let bytes = BASE64.decode(signature).unwrap();
    let (r, s) = bytes.split_at(32);
    let signed = |bytes: &[u8]| whole(header, payload, &BASE64.encode(bytes));
    let text = String::from_utf8(BASE64.decode(header).unwrap()).unwrap();
    let claims = String::from_utf8(BASE64.decode(payload).unwrap()).unwrap();
    let twice = |json: &str, member: &str| BASE64.encode(json.replacen('{', &format!("{{{member},"), 1));
    // The group's order, and r or s moved by it: the same number to whoever does not check the range (SEC 1 §4.1.4).
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    vec![
        ("r and s of zero", signed(&[0; 64])),
        ("r of zero", signed(&[&[0; 32], s].concat())),
        ("s of zero", signed(&[r, &[0; 32]].concat())),
        ("r and s of the order", signed(&[&*order, &*order].concat())),
        ("r of the order, s of one", signed(&[&*order, &[&[0; 31][..], &[1]].concat()].concat())),
        ("all ones", signed(&[0xff; 64])),
        ("r and s exchanged", signed(&[s, r].concat())),
        ("a signature that is too short", signed(&bytes[..63])),
        ("a signature that is too long", signed(&[&*bytes, &[0]].concat())),
        ("a signature in DER", signed(&[&[0x30, 0x44, 0x02, 0x20], r, &[0x02, 0x20], s].concat())),
        ("no signature at all", signed(&[])),
        ("padding", whole(header, payload, &format!("{signature}=="))),
        ("padding of the header", whole(&format!("{header}="), payload, signature)),
        ("the other alphabet", whole(header, payload, &format!("{}+", &signature[..signature.len() - 1]))),
        ("a line end inside", whole(&format!("{}\t{}", &header[..4], &header[4..]), payload, signature)),
        ("trailing bits", whole(header, payload, &not_canonical(signature))),
        ("garbage behind the header", whole(&BASE64.encode(format!("{text} x")), payload, signature)),
        ("garbage behind the claims", whole(header, &BASE64.encode(format!("{claims}x")), signature)),
        ("two alg", whole(&twice(&text, "\"alg\":\"none\""), payload, signature)),
        ("two kid", whole(&twice(&text, "\"kid\":\"x\""), payload, signature)),
        ("two tid", whole(header, &twice(&claims, &format!("\"tid\":\"{}\"", uuid::Uuid::nil())), signature)),
        ("a header that is a list", whole(&BASE64.encode("[]"), payload, signature)),
        ("a header that is a text", whole(&BASE64.encode("\"ES256\""), payload, signature)),
        ("a header that is not UTF-8", whole(&BASE64.encode(b"{\"alg\":\"\xff\"}"), payload, signature)),
        ("as large as a head may be", whole(header, &"A".repeat(20_000), signature)),
        ("a JWE", format!("{header}..{payload}.{payload}.{signature}")),
    ]
}

/// The same bytes with another last letter: bits that no byte needs must be zero.
fn not_canonical(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = text.split_at(text.len() - 1);
    let at = LETTERS.iter().position(|letter| *letter == last.as_bytes()[0]).unwrap();
    format!("{rest}{}", char::from(LETTERS[at ^ 1]))
}

#[tokio::test]
async fn a_token_of_a_megabyte_is_refused_before_it_is_read() {
    let upstream = Upstream::start();
    let app = spawn_app(|settings| settings.gateway.routes = routes(&upstream.route("/svc", ""))).await;
    app.onboard("acme").await;
    let head = format!("GET /svc/x HTTP/1.1\r\nhost: acme.localhost:{}\r\nauthorization: Bearer ", app.port);
    let whole = format!("{head}{}\r\n\r\n", "A".repeat(1_000_000));
    // The HTTP library closes above 128 KiB of head; below that and above the configured limit it is a 431 of ours.
    let answer = app.raw(whole.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let reply = app.get("acme", "/svc/x").bearer(&"A".repeat(60_000)).await;
    reply.problem(431, "headers-too-large");
    assert_eq!(upstream.n_requests(), 0);
}

#[tokio::test]
async fn no_forged_token_passes_anywhere() {
    let upstream = Upstream::start();
    let app = spawn_app(|settings| {
        settings.gateway.routes =
            routes(&(upstream.route("/svc", "") + &upstream.route("/maybe", "auth = \"optional\"")))
    })
    .await;
    let (_, session) = app.tenant_with_owner("acme").await;
    let jwks = app.get("acme", "/.well-known/jwks.json").await.json();
    for (name, token) in forgeries(&session.access, &jwks) {
        for path in ["/auth/me", "/auth/validate", "/svc/x", "/maybe/x"] {
            let reply = app.get("acme", path).bearer(&token).await;
            assert_eq!(reply.status, 401, "{name} at {path}: {reply:?}");
            reply.problem(401, "invalid-token");
        }
    }
    for value in ["Basic YTpi", "Bearer", "token", "Bearer a b c", ""] {
        let reply = app.get("acme", "/svc/x").header("authorization", value).await;
        assert_eq!(reply.status, 401, "{value:?}: {reply:?}");
        reply.problem(401, "invalid-token");
    }
    assert_eq!(upstream.n_requests(), 0, "a forgery reached the service");
    // The same way is open to the good one.
    assert_eq!(app.get("acme", "/svc/x").token(&session).await.status, 200);
    assert_eq!(upstream.n_requests(), 1);
}

#[tokio::test]
async fn tokens_for_other_purposes_are_not_access_tokens() {
    let upstream = Upstream::start();
    let app = spawn_app(|settings| settings.gateway.routes = routes(&upstream.route("/svc", ""))).await;
    let (_, session) = app.tenant_with_owner("acme").await;
    let seen = app.get("acme", "/svc/x").token(&session).await.json();
    let context = seen["headers"]["x-tenant-context"][0].as_str().unwrap().to_owned();
    for token in [context, session.refresh] {
        app.get("acme", "/auth/me").bearer(&token).await.problem(401, "invalid-token");
    }
}

#[tokio::test]
async fn a_huge_token_is_refused_by_size() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    for n in [9_000, 31_000] {
        app.get("acme", "/auth/me").bearer(&"x".repeat(n)).await.problem(401, "invalid-token");
    }
    for n in [33_000, 1 << 20] {
        let answer = app.raw(format!("GET /auth/me HTTP/1.1\r\nHost: acme.localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n", "x".repeat(n)).as_bytes());
        let status = answer.split(' ').nth(1);
        assert!(answer.is_empty() && n > 1 << 19 || matches!(status, Some("431" | "400" | "401")), "{n}: {answer}");
    }
}

#[tokio::test]
async fn a_token_is_for_its_tenant_only() {
    let upstream = Upstream::start();
    let app = spawn_app(|settings| settings.gateway.routes = routes(&upstream.route("/svc", ""))).await;
    let (acme, session) = app.tenant_with_owner("acme").await;
    let (globex, _) = app.tenant_with_owner("globex").await;
    for path in ["/auth/me", "/auth/validate", "/svc/x", &format!("/tenants/{}", acme.id)] {
        app.get("globex", path).token(&session).await.problem(403, "tenant-mismatch");
        let named = |host: &str, tenant: &str| app.get(host, path).token(&session).header("x-tenant", tenant);
        for name in ["globex", &globex.id] {
            named("localhost", name).await.problem(403, "tenant-mismatch");
            named("acme", name).await.problem(403, "tenant-mismatch");
        }
        named("globex", "acme").await.problem(403, "tenant-mismatch");
        named("localhost", "nobody").await.problem(404, "unknown-tenant");
    }
    assert_eq!(upstream.n_requests(), 0);
    // Host, header and token that agree, in any number.
    for (host, name) in
        [("acme", ""), ("acme", "acme"), ("localhost", "acme"), ("localhost", &acme.id), ("localhost", "")]
    {
        let mut request = app.get(host, "/auth/me").token(&session);
        if !name.is_empty() {
            request = request.header("x-tenant", name);
        }
        assert_eq!(request.await.status, 200, "{host} {name}");
    }
}

#[tokio::test]
async fn two_credentials_are_one_too_many() {
    let upstream = Upstream::start();
    let app = spawn_app(|settings| settings.gateway.routes = routes(&upstream.route("/svc", ""))).await;
    let (_, one) = app.tenant_with_owner("acme").await;
    let two: Session = app.sign_in("acme", "owner@acme.test").await;
    for path in ["/auth/me", "/svc/x"] {
        app.get("acme", path).token(&one).token(&two).await.problem(400, "malformed-request");
        app.get("acme", path).token(&one).token(&one).await.problem(400, "malformed-request");
    }
    let twice = app.get("acme", "/auth/me").token(&one).header("x-tenant", "acme").header("x-tenant", "globex").await;
    twice.problem(400, "malformed-request");
    assert_eq!(upstream.n_requests(), 0);
}

/// Gives acme a further key, whose private half the test has, as if the tenant's own key had signed what it should not have.
async fn plant_key(app: &crate::helpers::App) -> EncodingKey {
    use aws_lc_rs::signature::KeyPair as _;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": BASE64.encode(x), "y": BASE64.encode(y) });
    app.db
        .as_admin(&format!(
            "INSERT INTO auth.signing_keys (tenant_id, kid, algorithm, state, public_jwk, private_key_enc)
             SELECT tenant_id, 'planted', 'ES256', 'retiring', '{jwk}', '' FROM platform.tenants WHERE slug = 'acme'"
        ))
        .await;
    crate::helpers::until("the key is published", async || {
        app.get("acme", "/.well-known/jwks.json").await.body.contains("planted")
    })
    .await;
    EncodingKey::from_ec_der(pkcs8.as_ref())
}

#[tokio::test]
async fn a_good_signature_does_not_make_wrong_claims_good() {
    let upstream = Upstream::start();
    let app = spawn_app(|settings| settings.gateway.routes = routes(&upstream.route("/svc", ""))).await;
    let (_, session) = app.tenant_with_owner("acme").await;
    let key = plant_key(&app).await;
    let sign = |claims: &Value| {
        let mut head = Header::new(Algorithm::ES256);
        (head.typ, head.kid) = (Some("at+jwt".to_owned()), Some("planted".to_owned()));
        jsonwebtoken::encode(&head, claims, &key).unwrap()
    };
    let good = part(session.access.split('.').nth(1).unwrap());
    let now = good["iat"].as_i64().unwrap();
    for (name, value) in [
        ("exp", json!((now + 60).to_string())),
        ("exp", json!(1e300)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(-1)),
        ("exp", json!(now - 60)),
        ("exp", json!([now + 60])),
        ("exp", Value::Null),
        ("nbf", json!(now + 3_600)),
        ("nbf", json!("0")),
        ("iss", json!("http://globex.localhost")),
        ("iss", json!([good["iss"]])),
        ("aud", json!("somebody-else")),
        ("aud", json!([good["aud"], "somebody-else"])),
        ("tid", json!(uuid::Uuid::new_v4())),
        ("tid", json!("")),
        ("epoch", json!(0)),
        ("roles", json!(["root"])),
        ("sub", json!("owner")),
    ] {
        let mut claims = good.clone();
        claims[name] = value.clone();
        let reply = app.get("acme", "/svc/x").bearer(&sign(&claims)).await;
        assert_eq!(reply.status, 401, "{name} = {value}: {reply:?}");
        reply.problem(401, "invalid-token");
    }
    for name in ["exp", "nbf", "iss", "aud", "sub", "tid", "sid", "epoch"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        app.get("acme", "/svc/x").bearer(&sign(&claims)).await.problem(401, "invalid-token");
    }
    assert_eq!(upstream.n_requests(), 0);
    assert_eq!(app.get("acme", "/svc/x").bearer(&sign(&good)).await.status, 200, "the planted key does sign");
}
