//! The player's HTTP/1.1 client: a request as given, header spellings included.

use std::net::Ipv4Addr;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Path and query.
    pub path: String,
    /// Header lines.
    pub headers: Vec<(String, String)>,
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

impl Ask {
    /// A GET.
    pub fn get(path: &str) -> Self {
        Self { path: path.to_owned(), headers: Vec::new() }
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
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Sends a request to a port of this machine.
///
/// # Errors
/// No connection, or no HTTP response.
pub async fn send(port: u16, ask: &Ask) -> anyhow::Result<Answer> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let (mut sender, connection) = http1::Builder::new()
        // `User_Info` is to arrive as it is written here.
        .title_case_headers(false)
        .handshake(TokioIo::new(stream))
        .await?;
    let connection = tokio::spawn(connection);
    let mut request = hyper::Request::get(&ask.path).header("host", format!("127.0.0.1:{port}"));
    for (name, value) in &ask.headers {
        request = request.header(name.parse::<HeaderName>()?, value.parse::<HeaderValue>()?);
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let (head, body) = response.into_parts();
    let challenge = head.headers.get("www-authenticate");
    let challenge = challenge.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Answer {
        status: head.status.as_u16(),
        challenge,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
