//! A browser: it keeps cookies for each host, and goes where it is sent only when it is told to.

use std::collections::BTreeMap;

use openidconnect::url::Url;
use reqwest::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use reqwest::{Method, StatusCode};

use crate::helpers::{PATIENCE, Reply};

/// A browser with nothing in it.
pub struct Browser {
    client: reqwest::Client,
    jar: BTreeMap<(String, String), String>,
}

impl Browser {
    pub fn new() -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self { client, jar: BTreeMap::new() }
    }

    pub async fn get(&mut self, url: &str) -> Reply {
        self.request(Method::GET, url, None, true).await
    }

    /// Sends a form.
    pub async fn submit(&mut self, url: &str, form: &[(&str, &str)]) -> Reply {
        let body = openidconnect::url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.request(Method::POST, url, Some(("application/x-www-form-urlencoded", body)), true).await
    }

    /// Sends a form of another site's page: without the cookies, which are all `SameSite=Lax`.
    pub async fn submit_from_elsewhere(&mut self, url: &str, form: &[(&str, &str)]) -> Reply {
        let body = openidconnect::url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.request(Method::POST, url, Some(("application/x-www-form-urlencoded", body)), false).await
    }

    pub async fn post_json(&mut self, url: &str, body: &serde_json::Value) -> Reply {
        self.request(Method::POST, url, Some(("application/json", body.to_string())), true).await
    }

    /// Follows redirects as long as they lead to this host; returns the first URL that leads away, or is not a redirect.
    pub async fn follow(&mut self, url: &str, host: &str) -> (String, Option<Reply>) {
        let mut url = url.to_owned();
        for _ in 0..20 {
            if !url.contains(host) {
                return (url, None);
            }
            let reply = self.get(&url).await;
            if !(300..400).contains(&reply.status) {
                return (url, Some(reply));
            }
            url = location(&url, &reply);
        }
        panic!("it goes round in circles: {url}");
    }

    async fn request(&mut self, method: Method, url: &str, body: Option<(&str, String)>, with_cookies: bool) -> Reply {
        let parsed = Url::parse(url).unwrap();
        let host = parsed.host_str().unwrap().to_owned();
        // Names below localhost need no DNS: they are this machine's.
        let mut target = parsed.clone();
        target.set_host(Some("127.0.0.1")).unwrap();
        target.set_fragment(None);
        let authority = parsed.port().map_or(host.clone(), |port| format!("{host}:{port}"));
        let mut request = self.client.request(method, target.as_str()).header(HOST, authority);
        let cookies: Vec<_> = self
            .jar
            .iter()
            .filter(|((of, _), _)| *of == host)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        if with_cookies && !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        let response = request.send().await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            let key = (host.clone(), name.trim().to_owned());
            if cookie.contains("1970") || value.is_empty() {
                self.jar.remove(&key);
            } else {
                self.jar.insert(key, value.to_owned());
            }
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.unwrap();
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{url}: {body}");
        Reply { status: status.as_u16(), headers, body }
    }

    /// What is kept for a host.
    pub fn cookie(&self, host: &str, name: &str) -> Option<&str> {
        self.jar.get(&(host.to_owned(), name.to_owned())).map(String::as_str)
    }

    pub fn set_cookie(&mut self, host: &str, name: &str, value: &str) {
        self.jar.insert((host.to_owned(), name.to_owned()), value.to_owned());
    }
}

/// Where a redirect leads.
pub fn location(from: &str, reply: &Reply) -> String {
    let to = reply.headers.get(LOCATION).unwrap_or_else(|| panic!("no redirect: {reply:?}")).to_str().unwrap();
    Url::parse(from).unwrap().join(to).unwrap().to_string()
}

/// A parameter of a URL's query.
pub fn parameter(url: &str, name: &str) -> Option<String> {
    Url::parse(url).unwrap().query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
