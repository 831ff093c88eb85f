//! An identity provider that says whatever a test wants: about itself, its keys and its people.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::url::{Url, form_urlencoded};
use serde_json::{Value, json};

use crate::browser::parameter;

/// How an ID token is signed.
#[derive(Debug, Clone)]
pub enum Signed {
    /// By the key of this id, published or not.
    By(&'static str),
    /// By `alg: none`.
    NotAtAll,
    /// By HMAC, with these bytes as the key.
    Hmac(Vec<u8>),
    /// By a published key, and then changed.
    Broken,
}

#[derive(Default)]
struct Lies {
    /// Merged into the discovery document.
    discovery: Value,
    /// Key ids that are published.
    published: Vec<&'static str>,
    /// Bodies of `/jwks` in place of the keys.
    jwks: Option<String>,
    /// Code → ID token.
    tokens: BTreeMap<String, String>,
    /// Answer of `/userinfo`.
    user_info: Value,
    /// Paths that redirect elsewhere.
    redirects: BTreeMap<String, String>,
    /// What was asked: path and body.
    asked: Vec<(String, String)>,
    is_over: bool,
}

/// A provider that runs until this is dropped.
pub struct Liar {
    pub issuer: String,
    port: u16,
    lies: Arc<Mutex<Lies>>,
    keys: BTreeMap<&'static str, Arc<EcdsaKeyPair>>,
}

impl Liar {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let issuer = format!("http://127.0.0.1:{port}");
        let lies = Arc::new(Mutex::new(Lies { discovery: json!({}), published: vec!["first"], ..Lies::default() }));
        let keys: BTreeMap<_, _> = ["first", "second", "third"]
            .into_iter()
            .map(|kid| (kid, Arc::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())))
            .collect();
        let (served, own, jwks) = (Arc::clone(&lies), issuer.clone(), keys.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.lock().unwrap().is_over {
                    return;
                }
                let (served, own, jwks) = (Arc::clone(&served), own.clone(), jwks.clone());
                std::thread::spawn(move || serve(&served, &own, &jwks, stream.unwrap()));
            }
        });
        Self { issuer, port, lies, keys }
    }

    fn with(&self, lie: impl FnOnce(&mut Lies)) {
        lie(&mut self.lies.lock().unwrap());
    }

    pub fn set_discovery(&self, fields: Value) {
        self.with(|lies| lies.discovery = fields);
    }

    pub fn publish(&self, keys: &[&'static str]) {
        self.with(|lies| lies.published = keys.to_vec());
    }

    pub fn set_jwks(&self, body: &str) {
        self.with(|lies| lies.jwks = Some(body.to_owned()));
    }

    pub fn set_user_info(&self, answer: Value) {
        self.with(|lies| lies.user_info = answer);
    }

    pub fn redirect(&self, path: &str, to: &str) {
        self.with(|lies| drop(lies.redirects.insert(path.to_owned(), to.to_owned())));
    }

    /// Bodies of the requests to a path so far.
    pub fn asked(&self, path: &str) -> Vec<String> {
        let lies = self.lies.lock().unwrap();
        lies.asked.iter().filter(|(asked, _)| asked == path).map(|(_, body)| body.clone()).collect()
    }

    /// The public half of the first key, as anybody can have it.
    pub fn public_key(&self) -> Vec<u8> {
        self.keys["first"].public_key().as_ref().to_vec()
    }

    /// What an honest provider would say of a person, for the browser that was sent to `url`.
    pub fn claims(&self, url: &str, sub: &str, email: &str) -> Value {
        let now = businessos::clock::now_s();
        json!({
            "iss": self.issuer, "aud": parameter(url, "client_id"), "sub": sub, "nonce": parameter(url, "nonce"),
            "iat": now, "exp": now + 300, "auth_time": now, "email": email, "email_verified": true,
        })
    }

    /// Lets the browser that was sent to `url` back in with these claims; returns where it is sent.
    pub fn admit(&self, url: &str, claims: &Value) -> String {
        self.admit_with(url, claims, &Signed::By("first"))
    }

    pub fn admit_with(&self, url: &str, claims: &Value, signed: &Signed) -> String {
        self.admit_token(url, self.token(claims, signed))
    }

    /// The same with a token that somebody else has made.
    pub fn admit_token(&self, url: &str, token: String) -> String {
        let code = uuid::Uuid::new_v4().to_string();
        self.with(|lies| drop(lies.tokens.insert(code.clone(), token)));
        let mut back = Url::parse(&parameter(url, "redirect_uri").unwrap()).unwrap();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &parameter(url, "state").unwrap());
        back.into()
    }

    /// An ID token that says so.
    pub fn token(&self, claims: &Value, signed: &Signed) -> String {
        let header = match signed {
            Signed::By(kid) => json!({"alg": "ES256", "kid": kid}),
            Signed::Broken => json!({"alg": "ES256", "kid": "first"}),
            Signed::NotAtAll => json!({"alg": "none"}),
            Signed::Hmac(_) => json!({"alg": "HS256"}),
        };
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(&header), part(claims));
        let by = |kid: &str| self.keys[kid].sign(&SystemRandom::new(), input.as_bytes()).unwrap().as_ref().to_vec();
        let signature = match signed {
            Signed::By(kid) => by(kid),
            Signed::Broken => {
                let mut signature = by("first");
                signature[10] ^= 1;
                signature
            }
            Signed::NotAtAll => Vec::new(),
            Signed::Hmac(key) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), input.as_bytes()).as_ref().to_vec()
            }
        };
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Closes the port: the provider is away from now on.
    pub fn vanish(&self) {
        self.with(|lies| lies.is_over = true);
        // The listener's thread sees it at the next connection, and ends with its listener.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            std::thread::yield_now();
        }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.with(|lies| lies.is_over = true);
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

fn serve(lies: &Mutex<Lies>, issuer: &str, keys: &BTreeMap<&'static str, Arc<EcdsaKeyPair>>, stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok();
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut lies = lies.lock().unwrap();
    lies.asked.push((path.clone(), body.clone()));
    let (status, extra, answer) = match lies.redirects.get(&path) {
        Some(to) => (302, format!("Location: {to}\r\n"), String::new()),
        None => {
            let (status, answer) = answer(&lies, issuer, keys, &path, &body);
            (status, String::new(), answer)
        }
    };
    drop(lies);
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}Content-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    let mut stream = reader.into_inner();
    stream.write_all(head.as_bytes()).ok();
    stream.write_all(answer.as_bytes()).ok();
}

fn answer(
    lies: &Lies,
    issuer: &str,
    keys: &BTreeMap<&'static str, Arc<EcdsaKeyPair>>,
    path: &str,
    body: &str,
) -> (u16, String) {
    match path {
        "/.well-known/openid-configuration" => {
            let mut document = json!({
                "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
                "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"], "code_challenge_methods_supported": ["S256"],
            });
            for (name, value) in lies.discovery.as_object().unwrap() {
                document[name] = value.clone();
            }
            (200, document.to_string())
        }
        "/jwks" => {
            let published = lies.published.iter().map(|kid| {
                let point = keys[kid].public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
                       "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65])})
            });
            (200, lies.jwks.clone().unwrap_or_else(|| json!({ "keys": published.collect::<Vec<_>>() }).to_string()))
        }
        "/token" => {
            let form: BTreeMap<_, _> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            match form.get("code").and_then(|code| lies.tokens.get(code)) {
                Some(token) => {
                    let answer =
                        json!({"access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": token});
                    (200, answer.to_string())
                }
                None => (400, json!({"error": "invalid_grant"}).to_string()),
            }
        }
        "/userinfo" => (200, lies.user_info.to_string()),
        _ => (404, "{}".to_owned()),
    }
}
