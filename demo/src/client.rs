//! What the player and the story's services send, and what came back.
//!
//! hyper's client, and not the command's, which waits on a thread: a service here serves while it asks another.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// Path and query.
    pub path: String,
    /// Header lines.
    pub headers: Vec<(String, String)>,
    /// The fields of a form, which makes it a POST.
    pub form: Option<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `www-authenticate`, if it was there.
    pub challenge: Option<String>,
    /// The body.
    pub body: String,
}

impl Request {
    /// A GET.
    pub fn get(path: &str) -> Self {
        Self { path: path.to_owned(), headers: Vec::new(), form: None }
    }

    /// A POST of a form.
    ///
    /// # Errors
    /// The fields cannot be written.
    pub fn post(path: &str, fields: &[(&str, &str)]) -> anyhow::Result<Self> {
        let form = serde_urlencoded::to_string(fields)?;
        Ok(Self { form: Some(form), ..Self::get(path) }
            .header("content-type", "application/x-www-form-urlencoded"))
    }

    /// Adds a header line.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds `Authorization: Bearer ..`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }
}

impl Answer {
    /// The body as JSON; null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// The claims of a token, unverified: for showing and asserting what was issued. Null if it is not a token.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_default();
    let json = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    serde_json::from_slice(&json).unwrap_or_default()
}

/// Sends a request to a port of this machine.
///
/// # Errors
/// No connection, or no HTTP response.
pub async fn send(port: u16, request: &Request) -> anyhow::Result<Answer> {
    send_to(&Ipv4Addr::LOCALHOST.to_string(), port, request).await
}

/// Sends a request to a port of a host.
///
/// # Errors
/// No connection, or no HTTP response.
pub async fn send_to(host: &str, port: u16, request: &Request) -> anyhow::Result<Answer> {
    let method = if request.form.is_some() { "POST" } else { "GET" };
    let uri = format!("http://{host}:{port}{}", request.path);
    let mut builder = hyper::Request::builder().method(method).uri(uri);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let body = Full::new(Bytes::from(request.form.clone().unwrap_or_default()));
    // A connection for each request: an Envoy that was restarted meanwhile answers too.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let response = client.request(builder.body(body)?).await?;
    let (head, body) = response.into_parts();
    let challenge = head.headers.get("www-authenticate");
    let challenge = challenge.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let body = body.collect().await?.to_bytes();
    Ok(Answer {
        status: head.status.as_u16(),
        challenge,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
