//! Who is believed, and what everybody else is told. No database is needed; the platform is a small server that gives keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_http::Request;
use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use futures_util::future::{join, join_all};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::contacts::NewContact;
use crate::db::Db;
use crate::keys::{Key, KeyStore};
use crate::tenant::{inspect, verify};

/// A tenant with a key of its own.
struct Signer {
    tenant: Uuid,
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Jwk,
}

impl Signer {
    fn new(algorithm: Algorithm) -> Self {
        let rng = SystemRandom::new();
        let key = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_der(Ed25519KeyPair::generate_pkcs8v1(&rng).unwrap().as_ref()),
            _ => EncodingKey::from_ec_der(
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap().as_ref(),
            ),
        };
        let mut jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        jwk.common.key_id = Some("k1".to_owned());
        Self { tenant: Uuid::now_v7(), algorithm, key, jwk }
    }

    fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.typ = Some("tenant-context+jwt".to_owned());
        header.kid = Some("k1".to_owned());
        header
    }

    fn claims(&self) -> Value {
        let now = get_current_timestamp();
        json!({ "iss": "http://acme.localhost:3000", "aud": "/crm", "tid": self.tenant, "slug": "acme", "plan": "starter",
                "sub": Uuid::now_v7(), "roles": ["admin"], "acr": "aal1", "iat": now, "exp": now + 60 })
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).unwrap()
    }

    fn token(&self) -> String {
        self.sign(&self.header(), &self.claims())
    }

    /// Signs with one claim changed.
    fn token_with(&self, name: &str, value: impl Into<Value>) -> String {
        let mut claims = self.claims();
        claims[name] = value.into();
        self.sign(&self.header(), &claims)
    }

    fn believes(&self, token: &str) -> bool {
        let key = Key::of(&self.jwk).unwrap();
        inspect(token)
            .and_then(|(_, header)| verify(token, &header, &key))
            .is_some_and(|context| context.tid == self.tenant)
    }
}

#[test]
fn a_context_signed_with_either_kind_of_key_is_believed() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let signer = Signer::new(algorithm);
        assert!(signer.believes(&signer.token()), "{algorithm:?}");
    }
}

#[test]
fn a_context_for_another_time_or_service_is_not() {
    let (signer, now) = (Signer::new(Algorithm::ES256), get_current_timestamp());
    assert!(signer.believes(&signer.token_with("exp", now - 1)), "clocks differ a little");
    assert!(!signer.believes(&signer.token_with("exp", now - 10)));
    assert!(signer.believes(&signer.token_with("iat", now + 1)), "clocks differ a little");
    assert!(!signer.believes(&signer.token_with("iat", now + 60)));
    assert!(!signer.believes(&signer.token_with("aud", "/ai")));
    assert!(!signer.believes(&signer.token_with("aud", json!(["/ai", "/crm"]))), "one audience, as text");
    for name in ["aud", "exp", "iat", "tid"] {
        assert!(!signer.believes(&signer.token_with(name, Value::Null)), "{name}");
    }
}

#[test]
fn a_header_that_means_something_else_is_not_believed() {
    let signer = Signer::new(Algorithm::ES256);
    let refused = |change: fn(&mut Header)| {
        let mut header = signer.header();
        change(&mut header);
        assert!(!signer.believes(&signer.sign(&header, &signer.claims())), "{header:?}");
    };
    refused(|header| header.typ = Some("at+jwt".to_owned()));
    refused(|header| header.typ = None);
    refused(|header| header.kid = None);
    refused(|header| header.crit = Some(vec!["b64".to_owned()]));
    refused(|header| header.jku = Some("https://attacker.example/jwks.json".to_owned()));
}

#[test]
fn a_signature_of_somebody_else_is_not_believed() {
    let (signer, other) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::ES256));
    assert!(!signer.believes(&other.sign(&signer.header(), &signer.claims())));

    // The public key as an HMAC secret: the header must not decide the algorithm.
    let mut header = signer.header();
    header.alg = Algorithm::HS256;
    let secret = EncodingKey::from_secret(serde_json::to_string(&signer.jwk).unwrap().as_bytes());
    assert!(!signer.believes(&encode(&header, &signer.claims(), &secret).unwrap()));

    let signed = signer.token();
    let (_, rest) = signed.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let none = "eyJhbGciOiJub25lIiwidHlwIjoidGVuYW50LWNvbnRleHQrand0Iiwia2lkIjoiazEifQ";
    for forged in [format!("{none}.{claims}."), format!("{none}.{claims}.{signature}"), "a.b".to_owned(), String::new()]
    {
        assert!(!signer.believes(&forged), "{forged}");
    }
}

#[test]
fn a_contact_that_the_table_would_refuse_is_named_field_by_field() {
    let pointers = |body: Value| -> Vec<_> {
        let contact: NewContact = serde_json::from_value(body).unwrap();
        contact.check().into_iter().map(|error| error.pointer).collect()
    };
    assert_eq!(pointers(json!({ "name": "Ada", "email": "ada@example.com" })), [""; 0]);
    assert_eq!(pointers(json!({ "name": "ä".repeat(255), "email": null })), [""; 0]);
    assert_eq!(pointers(json!({ "name": "ä".repeat(256) })), ["/name"]);
    assert_eq!(pointers(json!({ "name": " " })), ["/name"]);
    assert_eq!(pointers(json!({ "name": "A\u{0}" })), ["/name"]);
    assert_eq!(pointers(json!({ "name": "Ada", "email": "a\u{0}@example.com" })), ["/email"]);
    assert_eq!(pointers(json!({ "name": "", "email": "nobody" })), ["/name", "/email"]);
    assert!(serde_json::from_value::<NewContact>(json!({ "name": "Ada", "tenant_id": Uuid::nil() })).is_err());
}

/// A platform that gives each signer's key to those who ask for its tenant, and counts the calls.
async fn with_platform(signers: &[&Signer], test: impl AsyncFnOnce(&str, &AtomicUsize)) {
    let keys: Vec<_> = signers.iter().map(|signer| (signer.tenant.to_string(), json!([signer.jwk]))).collect();
    let n_calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_calls);
    let server = HttpServer::new(move || {
        let (keys, counter) = (keys.clone(), Arc::clone(&counter));
        let jwks = move |request: HttpRequest| {
            counter.fetch_add(1, Ordering::SeqCst);
            let tenant = request.headers().get("x-tenant").unwrap().to_str().unwrap();
            let answer = match keys.iter().find(|(id, _)| id == tenant) {
                Some((_, keys)) => HttpResponse::Ok().json(json!({ "keys": keys })),
                None => HttpResponse::NotFound().finish(),
            };
            async move { answer }
        };
        App::new().route("/.well-known/jwks.json", web::get().to(jwks))
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    let client = async {
        test(&url, &n_calls).await;
        handle.stop(false).await;
    };
    join(server, client).await.0.unwrap();
}

/// The service with a database that is not there.
macro_rules! service {
    ($platform:expr) => {{
        let db = web::Data::new(Db::new("postgres://crm_rw@127.0.0.1:1/none").unwrap());
        let keys = web::Data::new(KeyStore::new($platform).unwrap());
        init_service(App::new().configure(|app| crate::routes(app, db, keys))).await
    }};
}

fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(path)
}

fn signed(request: TestRequest, tenant: Uuid, token: &str) -> TestRequest {
    request.insert_header(("X-Tenant-Id", tenant.to_string())).insert_header(("X-Tenant-Context", token))
}

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn is_problem(&self) -> bool {
        let kind = self.headers.get("content-type").unwrap();
        kind == "application/problem+json" && self.body["status"] == self.status.as_u16()
    }
}

/// Calls the service. As in a real server, an error that comes out of it becomes an answer.
async fn call<B: MessageBody + 'static>(
    service: &impl Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    request: TestRequest,
) -> Answer {
    let answer = match service.call(request.to_request()).await {
        Ok(answer) => answer.into_parts().1.map_into_boxed_body(),
        Err(error) => error.error_response(),
    };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = to_bytes(answer.into_body()).await.unwrap();
    Answer { status, headers, body: serde_json::from_slice(&body).unwrap() }
}

#[actix_web::test]
async fn only_the_health_check_answers_without_a_context() {
    let service = service!("http://127.0.0.1:1");
    assert_eq!(call(&service, get("/healthz")).await.status, 200);
    let tenant = Uuid::now_v7().to_string();
    for path in ["/contacts", "/contacts/not-an-id", "/whoami", "/", "/nowhere", "/healthz/x"] {
        let answer = call(&service, get(path).insert_header(("X-Tenant-Id", tenant.as_str()))).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.is_problem(), "{path}");
    }
}

#[actix_web::test]
async fn a_service_sees_who_asks_and_believes_nobody_else() {
    let (acme, other) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::EdDSA));
    with_platform(&[&acme, &other], async |url, n_calls| {
        let service = service!(url);
        let whoami = |tenant: &Signer, token: &str| signed(get("/whoami"), tenant.tenant, token);

        let request = whoami(&acme, &acme.token()).insert_header(("X-User-Roles", "admin"));
        let answer = call(&service, request.insert_header(("Cookie", "session=secret"))).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body["context"]["tid"], json!(acme.tenant));
        assert_eq!(answer.body["headers"]["x-user-roles"], "admin");
        assert_eq!((&answer.body["cookie"], &answer.body["authorization"]), (&json!(true), &json!(false)));
        assert!(!answer.body.to_string().contains("secret"));
        assert_eq!(call(&service, whoami(&other, &other.token())).await.status, 200);

        let bound = acme.token_with("request_id", "r1");
        let right = whoami(&acme, &bound).insert_header(("X-Request-Id", "r1"));
        assert_eq!(call(&service, right).await.status, 200);

        let own_id = acme.tenant.to_string();
        for (why, request) in [
            ("headers disagree", whoami(&other, &acme.token())),
            ("sent twice", whoami(&acme, &acme.token()).append_header(("X-Tenant-Id", own_id))),
            ("one tenant's key for another", whoami(&other, &acme.token_with("tid", json!(other.tenant)))),
            ("another request's context", whoami(&acme, &bound).insert_header(("X-Request-Id", "r2"))),
        ] {
            assert_eq!(call(&service, request).await.status, 401, "{why}");
        }
        assert_eq!(n_calls.load(Ordering::SeqCst), 2, "once for each tenant");
    })
    .await;
}

#[actix_web::test]
async fn made_up_keys_and_a_crowd_make_one_call_to_the_platform() {
    let acme = Signer::new(Algorithm::ES256);
    let mut header = acme.header();
    header.kid = Some("made-up".to_owned());
    let kinds = [(acme.token(), 200), (acme.sign(&header, &acme.claims()), 401)];
    with_platform(&[&acme], async |url, n_calls| {
        let service = service!(url);
        let calls = kinds.iter().cycle().take(20).map(async |(token, status)| {
            assert_eq!(call(&service, signed(get("/whoami"), acme.tenant, token)).await.status, *status);
        });
        join_all(calls).await;
        assert_eq!(n_calls.load(Ordering::SeqCst), 1);
    })
    .await;
}

#[actix_web::test]
async fn what_is_down_is_said_to_be_down() {
    let acme = Signer::new(Algorithm::ES256);
    let contacts = || signed(get("/contacts"), acme.tenant, &acme.token());
    let answer = call(&service!("http://127.0.0.1:1"), contacts()).await;
    assert_eq!(answer.status, 503, "the platform");
    with_platform(&[&acme], async |url, _| {
        let answer = call(&service!(url), contacts()).await;
        assert_eq!(answer.status, 503, "the database");
        assert!(answer.is_problem() && answer.headers.contains_key("retry-after"));
    })
    .await;
}

#[actix_web::test]
async fn requests_that_make_no_sense_are_problems() {
    let acme = Signer::new(Algorithm::ES256);
    with_platform(&[&acme], async |url, _| {
        let service = service!(url);
        let post = |kind: &str, body: &str| {
            TestRequest::post().uri("/contacts").insert_header(("Content-Type", kind)).set_payload(body.to_owned())
        };
        let json = |body: &str| post("application/json", body);
        let long = format!(r#"{{"name":"{}"}}"#, "a".repeat(17 * 1024));
        for (n, (status, request)) in [
            (404, get("/nowhere")),
            (404, get("/contacts/not-an-id")),
            (422, get("/contacts?limit=0")),
            (422, get("/contacts?limit=101")),
            (422, get("/contacts?after=x")),
            (422, get("/contacts?tenant_id=x")),
            (400, json("{")),
            (422, json("[]")),
            (422, json(r#"{"name":"Ada","tenant_id":"x"}"#)),
            (422, json(r#"{"name":"A\u0000"}"#)),
            (413, json(&long)),
            (415, post("text/plain", "name=Ada")),
        ]
        .into_iter()
        .enumerate()
        {
            let answer = call(&service, signed(request, acme.tenant, &acme.token())).await;
            assert_eq!(answer.status, status, "request {n}");
            assert!(answer.is_problem(), "request {n}");
        }
    })
    .await;
}
