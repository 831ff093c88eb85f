//! An application of its own for each test, and a client that speaks to it as the world does.

use std::future::{Future, IntoFuture};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use businessos::actors::auth::Hasher;
use businessos::app::Application;
use businessos::config::{RouteSettings, Settings};
use businessos::db::embedded::SUPERUSER;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use tokio::sync::{OnceCell, oneshot};
use tokio_util::sync::CancellationToken;

use crate::support::{TestDatabase, open_tempdir};

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery staple";
/// One master key for all, because processes on one database must share it.
const MASTER_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// Longest wait for anything that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running application.
pub struct App {
    pub port: u16,
    pub admin_port: u16,
    pub db: Arc<TestDatabase>,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    pub data_dir: tempfile::TempDir,
}

/// An application on a database of its own.
pub async fn spawn_app(tweak: impl FnOnce(&mut Settings)) -> App {
    spawn_app_on(Arc::new(TestDatabase::new().await), None, tweak).await
}

/// An application on a database that others may use too; `config_file` is what a reload reads.
pub async fn spawn_app_on(
    db: Arc<TestDatabase>,
    config_file: Option<PathBuf>,
    tweak: impl FnOnce(&mut Settings),
) -> App {
    let data_dir = open_tempdir();
    let mut options = std::fs::OpenOptions::new();
    let mut key = options.write(true).create_new(true).mode(0o600).open(data_dir.path().join("master.key")).unwrap();
    writeln!(key, "{MASTER_KEY}").unwrap();
    let mut settings = businessos::config::load(None).unwrap();
    data_dir.path().clone_into(&mut settings.data_dir);
    settings.server.listen = "127.0.0.1:0".parse().unwrap();
    settings.server.workers = 1;
    // Tests hold no request open when they end.
    settings.server.shutdown_timeout_s = 0;
    settings.admin.listen = "127.0.0.1:0".parse().unwrap();
    settings.database.url = Some(db.options(SUPERUSER).to_url_lossy().to_string().into());
    settings.database.max_connections = 6;
    // The database is a migrated copy, and roles belong to the whole cluster.
    settings.database.migrate_on_start = false;
    settings.limits.ip_per_minute = 0;
    settings.limits.tenant_per_minute = 1_000_000;
    settings.tenants.arbiters = 1;
    settings.log.access = false;
    settings.gateway.routes.clear();
    tweak(&mut settings);

    let (started, ready) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            match Application::start(settings, config_file, &CancellationToken::new()).await {
                Ok(application) => {
                    started.send(Ok((application.port(), application.admin_port()))).unwrap();
                    stopped.await.ok();
                    application.stop().await;
                }
                Err(error) => started.send(Err(error.to_string())).unwrap(),
            }
        });
    });
    let (port, admin_port) = ready.recv_timeout(PATIENCE).expect("the application starts").unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()
        .unwrap();
    App { port, admin_port, db, client, stop: Some(stop), thread: Some(thread), data_dir }
}

impl Drop for App {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let stopped = thread.join();
            assert!(stopped.is_ok() || std::thread::panicking(), "the application panicked");
        }
    }
}

/// Signing secret of the webhooks of [`with_stripe`].
pub const STRIPE_SECRET: &str = "whsec_test";

/// A Stripe account, where nobody answers.
pub fn with_stripe(settings: &mut Settings) {
    settings.stripe.secret_key = Some("sk_test_nobody".into());
    settings.stripe.webhook_secret = Some(STRIPE_SECRET.into());
    settings.stripe.api_base = "http://127.0.0.1:9".to_owned();
}

/// The header that Stripe would send with a body now.
pub fn stripe_signature(body: &str) -> String {
    use aws_lc_rs::hmac;
    let (key, at) = (hmac::Key::new(hmac::HMAC_SHA256, STRIPE_SECRET.as_bytes()), businessos::clock::now_s());
    format!("t={at},v1={}", hex::encode(hmac::sign(&key, format!("{at}.{body}").as_bytes())))
}

/// Routes from the text of a configuration file.
pub fn routes(text: &str) -> Vec<RouteSettings> {
    #[derive(serde::Deserialize)]
    struct Gateway {
        routes: Vec<RouteSettings>,
    }
    toml::from_str::<Gateway>(text).unwrap().routes
}

/// A tenant that was onboarded.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub id: String,
    pub owner: String,
}

/// Tokens of a session.
#[derive(Debug, Clone)]
pub struct Session {
    pub access: String,
    pub refresh: String,
}

impl Session {
    pub fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status, 200, "{reply:?}");
        let field = |name: &str| reply.json()[name].as_str().unwrap().to_owned();
        Self { access: field("access_token"), refresh: field("refresh_token") }
    }
}

/// A body for onboarding.
pub fn onboard_body(slug: &str) -> Value {
    json!({
        "name": format!("{slug} Ltd"), "subdomain": slug, "plan": "free",
        "admin": { "email": format!("owner@{slug}.test"), "password": PASSWORD },
    })
}

impl App {
    /// A request to a tenant's host; a name with a dot, and `localhost`, are hosts themselves.
    pub fn request(&self, method: Method, host: &str, path: &str) -> Request {
        let host =
            if host.contains('.') || host == "localhost" { host.to_owned() } else { format!("{host}.localhost") };
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let builder = self.client.request(method, url).header(HOST, format!("{host}:{}", self.port));
        Request { builder }
    }

    /// Where the application keeps its master key.
    pub fn data_dir(&self) -> &std::path::Path {
        self.data_dir.path()
    }

    pub fn get(&self, host: &str, path: &str) -> Request {
        self.request(Method::GET, host, path)
    }

    pub fn post(&self, host: &str, path: &str) -> Request {
        self.request(Method::POST, host, path)
    }

    pub fn delete(&self, host: &str, path: &str) -> Request {
        self.request(Method::DELETE, host, path)
    }

    pub fn put(&self, host: &str, path: &str) -> Request {
        self.request(Method::PUT, host, path)
    }

    pub fn patch(&self, host: &str, path: &str) -> Request {
        self.request(Method::PATCH, host, path)
    }

    /// A request to the admin listener.
    pub fn admin(&self, path: &str) -> Request {
        Request { builder: self.client.get(format!("http://127.0.0.1:{}{path}", self.admin_port)) }
    }

    /// Bytes as they are on a connection of their own, and all that comes back.
    pub fn raw(&self, bytes: &[u8]) -> String {
        use std::io::Read as _;
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // A server that refuses early may reset what it did not read.
        stream.read_to_end(&mut answer).ok();
        String::from_utf8(answer).unwrap()
    }

    /// Onboards a tenant on the plan `free`, whose owner is `owner@<slug>.test`.
    pub async fn onboard(&self, slug: &str) -> Tenant {
        self.onboard_with(onboard_body(slug)).await
    }

    pub async fn onboard_with(&self, body: Value) -> Tenant {
        let reply = self.post("localhost", "/tenants/onboard").json(&body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        let tenant = &reply.json()["tenant"];
        Tenant {
            id: tenant["id"].as_str().unwrap().to_owned(),
            owner: body["admin"]["email"].as_str().unwrap().to_owned(),
        }
    }

    pub async fn sign_in(&self, slug: &str, email: &str) -> Session {
        Session::of(&self.try_sign_in(slug, email, PASSWORD).await)
    }

    pub async fn try_sign_in(&self, slug: &str, email: &str, password: &str) -> Reply {
        self.post(slug, "/auth/login").json(&json!({ "email": email, "password": password })).await
    }

    /// Onboards a tenant and signs its owner in.
    pub async fn tenant_with_owner(&self, slug: &str) -> (Tenant, Session) {
        let tenant = self.onboard(slug).await;
        let session = self.sign_in(slug, &tenant.owner).await;
        (tenant, session)
    }

    pub async fn refresh(&self, slug: &str, refresh_token: &str) -> Reply {
        self.post(slug, "/auth/refresh").json(&json!({ "refresh_token": refresh_token })).await
    }

    /// The same session after its user has shown a second factor.
    pub async fn stepped_up(&self, slug: &str, session: &Session) -> Session {
        let id =
            self.get(slug, "/auth/validate").token(session).await.json()["session_id"].as_str().unwrap().to_owned();
        let sql = format!("UPDATE auth.sessions SET acr = 'aal2', mfa_time = clock_timestamp() WHERE id = '{id}'");
        self.db.as_admin(&sql).await;
        Session::of(&self.refresh(slug, &session.refresh).await)
    }

    /// Puts a user beside the owner, and signs them in.
    pub async fn user(&self, slug: &str, role: &str) -> Session {
        let email = format!("{role}@{slug}.test");
        let hash = password_hash().await;
        self.db
            .as_admin(&format!(
                "INSERT INTO auth.users (tenant_id, id, email, email_norm, role, password_hash)
                 SELECT tenant_id, gen_random_uuid(), '{email}', '{email}', '{role}', '{hash}'
                 FROM platform.tenants WHERE slug = '{slug}'"
            ))
            .await;
        self.sign_in(slug, &email).await
    }

    /// An operator of the platform.
    pub async fn operator(&self) -> Session {
        self.user("platform", "operator").await
    }

    /// A number from the test database, as the superuser.
    pub async fn count(&self, sql: &str) -> i64 {
        let mut conn = self.db.connect(SUPERUSER).await;
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&mut conn).await.unwrap()
    }
}

async fn password_hash() -> &'static str {
    static HASH: OnceCell<String> = OnceCell::const_new();
    HASH.get_or_init(|| async { Hasher::start(1, 1).unwrap().hash(PASSWORD.into()).await.unwrap() }).await
}

/// A request in the making; awaiting sends it.
pub struct Request {
    builder: reqwest::RequestBuilder,
}

impl Request {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    pub fn token(self, session: &Session) -> Self {
        self.bearer(&session.access)
    }

    pub fn bearer(mut self, token: &str) -> Self {
        self.builder = self.builder.header(AUTHORIZATION, format!("Bearer {token}"));
        self
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.builder = self.builder.json(body);
        self
    }

    /// Bytes that are announced as JSON.
    pub fn raw_json(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.builder = self.builder.header(CONTENT_TYPE, "application/json").body(body.into());
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.builder = self.builder.body(body.into());
        self
    }
}

impl IntoFuture for Request {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let response = self.builder.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
            Reply { status, headers, body }
        })
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem of that kind, whole and well formed; returns its body.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["code"], code, "{self:?}");
        assert_eq!(body["type"], format!("urn:businessos:problem:{code}"), "{self:?}");
        assert_eq!(body["status"], status, "{self:?}");
        assert_eq!(body["request_id"], self.header("x-request-id"), "{self:?}");
        for text in ["title", "detail", "request_id"] {
            assert!(body[text].as_str().is_some_and(|text| !text.is_empty()), "{text}: {self:?}");
        }
        assert_eq!(self.header("cache-control"), "no-store", "{self:?}");
        body
    }

    /// The pointers of a 422, sorted.
    #[track_caller]
    pub fn pointers(&self) -> Vec<String> {
        let body = self.problem(422, "validation-failed");
        let errors = body["errors"].as_array().unwrap();
        let mut pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect();
        pointers.sort_unstable();
        pointers
    }

    /// The problem without what differs from request to request.
    pub fn anonymous(&self) -> Value {
        let mut body = self.json();
        body.as_object_mut().unwrap().remove("request_id").expect("a request id");
        body
    }
}

/// Of a change that another node is to see: a second is promised, and `nodes` holds the median to it. A single one may take longer where
/// four tests share two cores, but not long.
pub fn assert_soon(delay: Duration) {
    assert!(delay < Duration::from_secs(10), "{delay:?}");
}

/// Asks again until the answer is as wanted; returns how long it took.
pub async fn until<F: AsyncFnMut() -> bool>(what: &str, mut is_so: F) -> Duration {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::task::yield_now().await;
    }
    started.elapsed()
}
