//! The answer of a key server -> keys, or why there are none.
//!
//! Only 200 with a JWK set counts that has a usable key, or that has none at all: it is empty, or each of its keys
//! is marked for another use. A set whose keys are refused is not such a set. Redirects are not followed: only the
//! operator may name another source of keys.

use std::fmt;

use crate::codec::json::{self, Value};
use crate::codec::problems::{InvalidConfig, Node, Problems};
use crate::jwks::{KeySet, Origin};
use crate::policy::{Location, Selection};
use crate::time::Millis;

/// The content of an issuer's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// `jwks_uri`.
    pub keys: Location,
}

/// The largest answer that is read, in bytes. A key has about 500, one with a certificate chain 10,000.
pub const MAX_BYTES: usize = 262_144;

/// JSON levels of an OpenID configuration that are read.
const DEPTH: usize = 16;

/// An HTTP response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// `cache-control`, several lines joined by commas.
    pub cache_control: String,
    /// `age`, in seconds.
    pub age: u64,
    /// `location`.
    pub location: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}

/// A key set that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The body as received.
    pub body: String,
    /// The number of its usable keys; 0: its issuer has withdrawn the last one.
    pub usable: usize,
    /// The ids of its usable keys.
    pub kids: Vec<String>,
    /// How long it is fresh, if the server says so.
    pub max_age: Option<Millis>,
    /// Keys that are skipped, and why.
    pub warnings: Vec<String>,
}

/// Why a fetch returned no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The issuer's configuration cannot be used.
    Discovery(String),
    /// No answer will come: the root context that made the request is gone, its time is over, or the clock was set back.
    Lost,
    /// Not a usable JWK set.
    NotKeys(String),
    /// A redirect, to this location.
    Redirected(String),
    /// Not 200.
    Status(u16),
    /// Larger than the limit.
    TooLarge(usize),
    /// No answer in time, or no cluster of that name.
    Unreachable(&'static str),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery(problem) => write!(f, "the OpenID configuration: {problem}"),
            Self::Lost => f.write_str("the configuration that asked is gone"),
            Self::NotKeys(problem) => f.write_str(problem),
            Self::Redirected(to) => {
                write!(f, "expected status 200, found a redirect to `{}`", to.escape_default())
            }
            Self::Status(status) => write!(f, "expected status 200, found {status}"),
            Self::TooLarge(bytes) => {
                write!(f, "expected at most {MAX_BYTES} bytes, found {bytes}")
            }
            Self::Unreachable(why) => f.write_str(why),
        }
    }
}

impl Answer {
    /// The keys in it.
    ///
    /// # Errors
    /// Why there are none.
    pub fn keys(&self, selection: &Selection) -> Result<Fetched, FetchError> {
        let body = self.text()?;
        let (keys, warnings) = read(body, selection).map_err(FetchError::NotKeys)?;
        let kids = keys.keys().iter().filter_map(|key| key.kid.clone()).collect();
        let usable = keys.keys().len();
        Ok(Fetched { body: body.to_owned(), usable, kids, max_age: self.max_age(), warnings })
    }

    /// The issuer's configuration in it (OpenID Connect Discovery 1.0 section 4).
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn discover(&self, issuer: &str, asked: &Location) -> Result<Discovered, FetchError> {
        let problem = |problem: String| FetchError::Discovery(problem);
        let value = json::parse(self.text()?.as_bytes(), DEPTH)
            .map_err(|invalid| problem(format!("expected JSON: {invalid}")))?;
        let text = |name| value.get(name).and_then(Value::as_str);
        // Section 4.3: it must be the issuer's own.
        if text("issuer") != Some(issuer) {
            let found = text("issuer").unwrap_or_default().escape_default();
            return Err(problem(format!("expected issuer `{issuer}`, found `{found}`")));
        }
        let uri = text("jwks_uri").ok_or_else(|| problem("`jwks_uri` is missing".to_owned()))?;
        let keys = Location::parse(uri).map_err(|expected| {
            problem(format!("expected {expected} for `jwks_uri`, found `{}`", uri.escape_default()))
        })?;
        if (keys.scheme, &keys.authority) != (asked.scheme, &asked.authority) {
            return Err(problem(format!(
                "`jwks_uri` is `{keys}`, on another server than the issuer: \
                 give it as `jwksUri`, with the cluster that leads there"
            )));
        }
        Ok(Discovered { keys })
    }

    fn text(&self) -> Result<&str, FetchError> {
        match (self.status, &self.location) {
            (200, _) => {}
            (300..=399, Some(to)) => return Err(FetchError::Redirected(to.clone())),
            (status, _) => return Err(FetchError::Status(status)),
        }
        if self.body.len() > MAX_BYTES {
            return Err(FetchError::TooLarge(self.body.len()));
        }
        std::str::from_utf8(&self.body).map_err(|_| {
            FetchError::NotKeys("expected JSON, found bytes that are not UTF-8".to_owned())
        })
    }

    /// RFC 9111 sections 5.2.2 and 4.2.3.
    fn max_age(&self) -> Option<Millis> {
        let mut max_age = None;
        for directive in self.cache_control.split(',').map(str::trim) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.to_ascii_lowercase().as_str() {
                "no-cache" | "no-store" => return Some(0),
                "max-age" => {
                    let seconds = value.trim_matches('"').parse::<u64>().ok();
                    let rest = seconds.map(|seconds| seconds.saturating_sub(self.age));
                    max_age = rest.map(|seconds| seconds.saturating_mul(1000)).or(max_age);
                }
                _ => {}
            }
        }
        max_age
    }
}

/// The keys of a body from a server, empty if it has withdrawn the last one, and warnings about them.
///
/// # Errors
/// Why there are no keys.
pub(super) fn read(body: &str, selection: &Selection) -> Result<(KeySet, Vec<String>), String> {
    let problems = Problems::default();
    let value = Value::String(body.to_owned());
    let Selection { symmetric, published, .. } = *selection;
    let node = Node::root(&value);
    let keys = KeySet::read(&node, Origin::Fetched, symmetric, published, &problems);
    let withdrawn = keys.as_ref().is_some_and(|keys| keys.keys().is_empty());
    let keys = keys.map(|keys| keys.pinned(&selection.pins, &problems));
    let (errors, warnings) = problems.into_parts();
    // Both may repeat text from the server.
    let plain = |notes: Vec<InvalidConfig>| -> Vec<String> {
        notes.iter().map(|note| note.to_string().escape_default().to_string()).collect()
    };
    match keys {
        Some(keys) if keys.keys().is_empty() && !withdrawn => {
            Err("expected at least one key of `jwksPins`, found none".to_owned())
        }
        Some(keys) => Ok((keys, plain(warnings))),
        None => Err(plain(errors).join("; ")),
    }
}
