//! What the filter asks of the proxy that it runs in: the functions of the proxy-wasm ABI 0.2.1 that it needs.
//!
//! Each may fail, and says so by a value: a panic would take the worker's whole VM down. What a failure means is for the
//! caller to say, and never that a request goes on.

use std::time::Duration;

use usher_core::observe::metrics::family::Kind;
use usher_core::reply::Reply;
use usher_core::time::UnixMillis;

/// Header lines in the order of the host: name in lower case, value. A name may come again.
pub type HeaderLines = Vec<(Vec<u8>, Vec<u8>)>;

/// Header lines that can be read or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderMap {
    /// Of the request.
    RequestHeaders,
    /// Of the request.
    RequestTrailers,
    /// Of the response to an HTTP call, while it is handed over.
    CallResponseHeaders,
}

/// How much a line of the host's log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// For who looks into one request.
    Debug,
    /// Worth a line.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
    /// The module is at its end.
    Critical,
}

/// What became of a write to shared data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedDataWrite {
    /// It is there.
    Done,
    /// Another wrote since the version that was given.
    CasMismatch,
    /// The host does not do it.
    Failed,
}

/// The version of shared data that was never written. The host compares versions only where there is something, and
/// counts them up from 1.
pub const ABSENT: u32 = u32::MAX;

/// The proxy, in one of its worker threads. Clones are the same.
///
/// What is about a request, or a plugin, is about the one whose callback runs, or of the
/// [effective context](Self::set_effective_context).
pub trait Host: Clone + 'static {
    /// The time; [`UnixMillis::NO_CLOCK`] where there is no clock.
    fn unix_millis(&self) -> UnixMillis;

    /// A random number.
    fn random(&self) -> u64;

    /// Fills `bytes` with random ones that nobody can guess. Returns whether the host has such.
    fn random_bytes(&self, bytes: &mut [u8]) -> bool;

    /// The text of the configuration of the plugin that is being configured; empty where there is none.
    fn plugin_configuration(&self) -> Vec<u8>;

    /// A property (an Envoy attribute), by path; `None` where there is none.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;

    /// Sets a property of the stream, which Envoy has in filter state as `wasm.<name>` for access logs. Nothing
    /// depends on whether it does.
    fn set_property(&self, name: &str, value: &str);

    /// What the workers share under `key`, and its version.
    fn shared_data(&self, key: &str) -> Option<(Vec<u8>, u32)>;

    /// Shares `value`, if what is there still has this version (0: whatever is there).
    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> SharedDataWrite;

    /// Has the plugin's timer tick each `period` milliseconds; 0: no more. A host without timers refreshes no keys,
    /// which requests are told.
    fn set_tick_period(&self, period: u32);

    /// Has the following calls be about another context, until the callback ends. Returns whether there is one.
    fn set_effective_context(&self, context: u32) -> bool;

    /// Has the host choose the route again, as the headers are now.
    fn clear_route_cache(&self);

    /// Makes an HTTP call without a body, whose response comes to the plugin; its number.
    fn http_call(&self, cluster: &str, headers: &[(&str, &str)], timeout: Duration) -> Option<u32>;

    /// The body of the response to a call, of this size.
    fn call_body(&self, size: usize) -> Option<Vec<u8>>;

    /// All lines; `None` where the host does not hand them over: that is not the same as there being none.
    fn header_map(&self, map: HeaderMap) -> Option<HeaderLines>;

    /// Takes back what [`header_map`](Self::header_map) gave, when it is no longer needed.
    fn recycle(&self, lines: HeaderLines);

    /// Sets a header to one line. Returns whether the host did.
    fn replace_header(&self, map: HeaderMap, name: &[u8], value: &[u8]) -> bool;

    /// Adds a line to a header. Returns whether the host did.
    fn add_header(&self, map: HeaderMap, name: &[u8], value: &[u8]) -> bool;

    /// Removes a header with all its lines. Returns whether the host did.
    fn remove_header(&self, map: HeaderMap, name: &[u8]) -> bool;

    /// What a function of the host's own returns; `None` where it has none of that name, or fails.
    fn call_foreign_function(&self, name: &str, arguments: &[u8]) -> Option<Vec<u8>>;

    /// Writes a line to the host's log.
    fn log(&self, level: LogLevel, line: &str);

    /// Whether the host writes lines of `level` at the moment.
    fn logs(&self, level: LogLevel) -> bool;

    /// The number of a stat, which is made if there is none of that name.
    fn define_metric(&self, kind: Kind, name: &str) -> Option<u32>;

    /// Adds to a counter, or to a gauge, which may also be lowered. Nothing depends on whether the host does.
    fn increment_metric(&self, id: u32, offset: i64);

    /// Sets a gauge. Nothing depends on whether the host does.
    fn record_metric(&self, id: u32, value: u64);

    /// Lets a request that is held go on. One that the host does not let go reaches nothing.
    fn continue_request(&self);

    /// Ends the request with a reply. One that the host does not answer stays held.
    fn send_local_reply(&self, reply: &Reply);

    /// What all workers share under `key`: the value that is there, else the one that `make` gives.
    fn shared(&self, key: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        let there = || self.shared_data(key).map(|(value, _)| value).filter(|v| !v.is_empty());
        there().unwrap_or_else(|| {
            let value = make();
            match self.set_shared_data(key, &value, ABSENT) {
                // Another worker was faster: its value is everyone's.
                SharedDataWrite::CasMismatch => there().unwrap_or(value),
                SharedDataWrite::Done | SharedDataWrite::Failed => value,
            }
        })
    }
}
