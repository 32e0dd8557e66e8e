//! The proxy's interface to the filter: the functions of the proxy-wasm ABI 0.2.1 that it needs.
//!
//! Each may fail, and returns that as a value: a panic would trap, which takes the worker's whole VM down. The caller
//! decides what a failure means, but never that a request passes.

use std::time::Duration;

use usher_core::observe::metrics::family::Kind;
use usher_core::reply::Reply;
use usher_core::time::UnixMillis;

/// Header lines in the order of the host: name in lower case, value. A name may be repeated.
pub type HeaderLines = Vec<(Vec<u8>, Vec<u8>)>;

/// Header lines that can be read or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderMap {
    /// The headers of the request.
    RequestHeaders,
    /// The trailers of the request.
    RequestTrailers,
    /// The headers of the response to an HTTP call, during its callback.
    CallResponseHeaders,
}

/// The level of a line in the host's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// For investigating one request.
    Debug,
    /// Worth a line.
    Info,
    /// RequiredAttributes attention.
    Warn,
    /// Something failed.
    Error,
    /// The module cannot continue.
    Critical,
}

/// The result of a write to shared data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedDataWrite {
    /// It was written.
    Done,
    /// Another write changed the version that was given.
    CasMismatch,
    /// The host failed.
    Failed,
}

/// The version of shared data that was never written. The host compares versions only if there is a value, and counts
/// them up from 1.
pub const ABSENT: u32 = u32::MAX;

/// The proxy, in one of its worker threads. Clones are the same.
///
/// Functions about a request, or a plugin, apply to the one whose callback runs, or to the [effective
/// context](Self::set_effective_context).
pub trait Host: Clone + 'static {
    /// The time; [`UnixMillis::NO_CLOCK`] if there is no clock.
    fn unix_millis(&self) -> UnixMillis;

    /// A random number.
    fn random(&self) -> u64;

    /// Fills `bytes` with unpredictable random ones. Returns whether the host has such.
    fn random_bytes(&self, bytes: &mut [u8]) -> bool;

    /// The text of the configuration of the plugin that is being configured; empty if there is none.
    fn plugin_configuration(&self) -> Vec<u8>;

    /// A property (an Envoy attribute), by path; `None` if there is none, which for the host is the same as a failure: the
    /// rules see the attribute as absent, as those of Envoy's own filters do.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;

    /// Sets a property of the stream, which Envoy stores in filter state as `wasm.<name>` for access logs. Nothing
    /// depends on its success.
    fn set_property(&self, name: &str, value: &str);

    /// The workers' shared value under `key`, and its version.
    fn shared_data(&self, key: &str) -> Option<(Vec<u8>, u32)>;

    /// Shares `value`, if the current value still has this version (0: in any case).
    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> SharedDataWrite;

    /// Makes the plugin's timer tick each `period` milliseconds; 0: stops it. A host without timers refreshes no keys,
    /// so requests are refused for lack of them. Returns whether the host succeeded.
    fn set_tick_period(&self, period: u32) -> bool;

    /// Makes the following calls apply to another context, until the callback ends. Returns whether it exists.
    fn set_effective_context(&self, context: u32) -> bool;

    /// Makes the host choose the route again, with the current headers.
    fn clear_route_cache(&self);

    /// Makes an HTTP call without a body, whose response is delivered to the plugin; returns its number.
    fn http_call(&self, cluster: &str, headers: &[(&str, &str)], timeout: Duration) -> Option<u32>;

    /// The body of the response to a call, of this size.
    fn call_body(&self, size: usize) -> Option<Vec<u8>>;

    /// All lines; `None` if the host fails to return them, which is not the same as no lines.
    fn header_map(&self, map: HeaderMap) -> Option<HeaderLines>;

    /// Takes back the memory of [`header_map`](Self::header_map), when it is no longer needed.
    fn recycle(&self, lines: HeaderLines);

    /// Sets a header to one line. Returns whether the host succeeded.
    fn replace_header(&self, map: HeaderMap, name: &[u8], value: &[u8]) -> bool;

    /// Adds a line to a header. Returns whether the host succeeded.
    fn add_header(&self, map: HeaderMap, name: &[u8], value: &[u8]) -> bool;

    /// Removes a header with all its lines. Returns whether the host succeeded.
    fn remove_header(&self, map: HeaderMap, name: &[u8]) -> bool;

    /// The result of one of the host's own functions; `None` if it has none of that name, or fails.
    fn call_foreign_function(&self, name: &str, arguments: &[u8]) -> Option<Vec<u8>>;

    /// Writes a line to the host's log.
    fn log(&self, level: LogLevel, line: &str);

    /// Whether the host currently writes lines of `level`.
    fn logs(&self, level: LogLevel) -> bool;

    /// The number of a stat, which is created if there is none of that name.
    fn define_metric(&self, kind: Kind, name: &str) -> Option<u32>;

    /// Adds to a counter, or to a gauge, which may also be lowered. Nothing depends on its success.
    fn increment_metric(&self, id: u32, offset: i64);

    /// Sets a gauge. Nothing depends on its success.
    fn record_metric(&self, id: u32, value: u64);

    /// Lets a held request continue. If the host fails to, the request stays held.
    fn continue_request(&self);

    /// Ends the request with a reply. If the host fails to, the request stays held.
    fn send_local_reply(&self, reply: &Reply);

    /// The workers' shared value under `key`: the present one, else the result of `make`.
    fn shared(&self, key: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        let there = || self.shared_data(key).map(|(value, _)| value).filter(|v| !v.is_empty());
        there().unwrap_or_else(|| {
            let value = make();
            match self.set_shared_data(key, &value, ABSENT) {
                // Another worker was faster: all of them use its value.
                SharedDataWrite::CasMismatch => there().unwrap_or(value),
                SharedDataWrite::Done | SharedDataWrite::Failed => value,
            }
        })
    }
}
