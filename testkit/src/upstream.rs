//! The service behind the Envoy: it answers every request with `hello` and records what arrived.
//!
//! Requests are distinguished by their `x-case` header, which the clients of this harness set and
//! Usher has no business with.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Request, Response, Version, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use crate::RUNTIME;

/// Header that names a request.
pub const CASE: &str = "x-case";

/// A running upstream: HTTP/1.1 and HTTP/2 with prior knowledge, in clear text.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    arrived: Arc<Mutex<HashMap<String, Vec<Seen>>>>,
}

/// One request as it arrived at the service.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// The protocol between Envoy and the service.
    pub version: Version,
    /// Request method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header lines; names in lower case, repeated ones in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Trailer lines, in the same form.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Upstream {
    /// The one upstream of this process, started at first use.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Upstream> = LazyLock::new(Upstream::start);
        &SHARED
    }

    fn start() -> Self {
        let listener = RUNTIME.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let arrived: Arc<Mutex<HashMap<String, Vec<Seen>>>> = Arc::default();
        let book = Arc::clone(&arrived);
        RUNTIME.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let book = Arc::clone(&book);
                tokio::spawn(async move {
                    let service = service_fn(move |request| record(request, Arc::clone(&book)));
                    let mut server = auto::Builder::new(TokioExecutor::new());
                    server.http1().max_buf_size(1 << 20).max_headers(2000);
                    // A proxy opens streams before it knows of a limit, and those beyond it would be refused.
                    server.http2().max_header_list_size(1 << 20).max_concurrent_streams(1 << 16);
                    // A connection that Envoy gives up does not concern the test.
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, arrived }
    }

    /// What arrived of the request `case`: nothing, or exactly one request.
    ///
    /// # Panics
    /// When the request arrived more than once.
    #[track_caller]
    pub fn seen(&self, case: &str) -> Option<Seen> {
        let mut seen = self.arrived.lock().unwrap().remove(case).unwrap_or_default();
        assert!(seen.len() < 2, "request {case} arrived {} times: {seen:#?}", seen.len());
        seen.pop()
    }
}

async fn record(
    request: Request<Incoming>,
    book: Arc<Mutex<HashMap<String, Vec<Seen>>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let (trailers, body) = match body.collect().await {
        Ok(body) => (body.trailers().cloned(), body.to_bytes()),
        Err(error) => (None, Bytes::from(format!("unreadable body: {error}"))),
    };
    let seen = Seen {
        version: head.version,
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: lines(&head.headers),
        trailers: trailers.as_ref().map(lines).unwrap_or_default(),
        body: body.to_vec(),
    };
    let case = head
        .headers
        .get(CASE)
        .map_or_else(String::new, |case| String::from_utf8_lossy(case.as_bytes()).into_owned());
    book.lock().unwrap().entry(case).or_default().push(seen);
    Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
}

fn lines(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

impl Seen {
    /// Every value of the headers called `name` (lower case), in order.
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        values(&self.headers, name)
    }

    /// The one value of header `name` as text, if there is exactly one.
    ///
    /// # Panics
    /// When the header is there more than once, or is not UTF-8.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() < 2, "header {name} arrived {} times: {self:#?}", values.len());
        values.first().map(|value| str::from_utf8(value).unwrap())
    }

    /// Every header and trailer whose name folds to `name`: letters and digits in lower case, any
    /// other byte a `-`. What an application may confuse with it, CGI and its heirs do.
    pub fn folding_to(&self, name: &str) -> Vec<(&str, &[u8])> {
        self.headers
            .iter()
            .chain(&self.trailers)
            .filter(|(spelling, _)| fold(spelling) == name)
            .map(|(spelling, value)| (spelling.as_str(), value.as_slice()))
            .collect()
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.method, self.path, self.version)?;
        for (kind, lines) in [("", &self.headers), ("trailer ", &self.trailers)] {
            for (name, value) in lines {
                write!(f, "\n    {kind}{name}: {}", value.escape_ascii())?;
            }
        }
        write!(f, "\n    body: {}", self.body.escape_ascii())
    }
}

fn fold(name: &str) -> String {
    let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(fold).collect()
}

pub(crate) fn values<'h>(lines: &'h [(String, Vec<u8>)], name: &str) -> Vec<&'h [u8]> {
    lines.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_slice()).collect()
}
