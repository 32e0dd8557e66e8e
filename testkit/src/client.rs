//! Clients that send what a well-behaved one would not.
//!
//! HTTP/1.1 is written byte by byte to the socket, so that a header may have any spelling and any
//! value; HTTP/2 goes through hyper, which allows what the protocol allows.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::upstream::{CASE, Seen, values};

pub mod crowd;
pub mod http1;
pub mod http2;

/// A request to be made.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) path: Vec<u8>,
    pub(crate) authority: String,
    pub(crate) lines: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What came back, and what the service saw of it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The name of the request in the upstream's book and in the access log.
    pub case: String,
    /// Response status.
    pub status: u16,
    /// Header lines; names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// The request as it reached the service, if it did.
    pub seen: Option<Seen>,
}

impl Request {
    /// A GET of `path`, given as in the request line.
    pub fn get(path: impl AsRef<[u8]>) -> Self {
        Self::new("GET", path)
    }

    /// A request with any method.
    pub fn new(method: &str, path: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.to_owned(),
            path: path.as_ref().to_vec(),
            authority: "service.example".to_owned(),
            lines: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }

    /// Adds `Authorization: Bearer <token>`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Adds a header line, beside any of that name.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.lines.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// The authority to name, instead of `service.example`.
    pub fn authority(mut self, authority: &str) -> Self {
        self.authority = authority.to_owned();
        self
    }

    /// A request body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Adds a trailer line; over HTTP/1.1 the body becomes chunked.
    pub fn trailer(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.trailers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// A name for one sending of this request, which no other sending has.
    pub fn case() -> String {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        format!("case-{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Reply {
    pub(crate) fn header_line(case: &str) -> (Vec<u8>, Vec<u8>) {
        (CASE.as_bytes().to_vec(), case.as_bytes().to_vec())
    }

    /// The one value of response header `name` (lower case) as text, if there is exactly one.
    ///
    /// # Panics
    /// When the header is there more than once, or is not UTF-8.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = values(&self.headers, name);
        assert!(values.len() < 2, "response header {name} came {} times: {self}", values.len());
        values.first().map(|value| str::from_utf8(value).unwrap())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What the service saw.
    ///
    /// # Panics
    /// When the request did not get through with 200.
    #[track_caller]
    pub fn passed(&self) -> &Seen {
        assert_eq!(self.status, 200, "{self}");
        self.seen.as_ref().expect("the service answered 200 and has recorded the request")
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: status {}", self.case, self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "  {name}: {}", value.escape_ascii())?;
        }
        writeln!(f, "  body: {}", self.body.escape_ascii())?;
        match &self.seen {
            Some(seen) => writeln!(f, "  the service saw {seen:#?}"),
            None => writeln!(f, "  the service saw nothing"),
        }
    }
}
