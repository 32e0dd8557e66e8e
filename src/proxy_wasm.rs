//! The proxy-wasm host: its functions as a [`Host`], and what it calls. Compiled for wasm only, and the only module
//! that uses the ABI: a translation, without a decision.
//!
//! A panic is a trap, and a trap takes the worker's whole VM down; so every status becomes a value here.

#![expect(unsafe_code, reason = "the ABI is C functions over raw pointers")]

use std::cell::Cell;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ptr::{null, null_mut};
use std::time::Duration;

use usher_core::observe::metrics::family::Kind;
use usher_core::reply::Reply;
use usher_core::time::UnixMillis;

use crate::header_map;
use crate::host::{HeaderLines, HeaderMap, Host, LogLevel, SharedDataWrite};
use abi::{
    BufferType, MapType, MetricType, Status, StreamType, level_number, proxy_add_header_map_value,
    proxy_call_foreign_function, proxy_continue_stream, proxy_define_metric,
    proxy_get_buffer_bytes, proxy_get_current_time_nanoseconds, proxy_get_header_map_pairs,
    proxy_get_log_level, proxy_get_property, proxy_get_shared_data, proxy_http_call,
    proxy_increment_metric, proxy_log, proxy_record_metric, proxy_remove_header_map_value,
    proxy_replace_header_map_value, proxy_send_local_response, proxy_set_effective_context,
    proxy_set_property, proxy_set_shared_data, proxy_set_tick_period_milliseconds,
};

mod abi;
mod exports;

/// The host.
#[derive(Clone, Copy)]
struct ProxyWasm;

thread_local! {
    /// Lines of an earlier request, whose memory the next one reuses.
    static SPARE: Cell<HeaderLines> = const { Cell::new(HeaderLines::new()) };
}

/// The most lines and bytes that are worth keeping; a large request should not occupy its memory forever.
const SPARE_LINES: usize = 64;
const SPARE_BYTES: usize = 32_768;

impl Host for ProxyWasm {
    fn unix_millis(&self) -> UnixMillis {
        let mut nanoseconds = 0;
        // SAFETY: the host writes one u64.
        match Status::of(unsafe { proxy_get_current_time_nanoseconds(&mut nanoseconds) }) {
            Status::Ok => UnixMillis(nanoseconds / 1_000_000),
            Status::CasMismatch | Status::Failed => UnixMillis::NO_CLOCK,
        }
    }

    // The seed of the standard library's maps, which the host supplies.
    fn random(&self) -> u64 {
        RandomState::new().build_hasher().finish()
    }

    fn random_bytes(&self, bytes: &mut [u8]) -> bool {
        getrandom::fill(bytes).is_ok()
    }

    fn plugin_configuration(&self) -> Vec<u8> {
        buffer(BufferType::PluginConfiguration, usize::MAX).unwrap_or_default()
    }

    fn call_body(&self, size: usize) -> Option<Vec<u8>> {
        if size == 0 {
            return Some(Vec::new());
        }
        buffer(BufferType::HttpCallResponseBody, size)
    }

    fn shared_data(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        let mut version = 0;
        let bytes = returned(|data, size| {
            // SAFETY: a live slice goes in; a pointer from our allocator, its size and a u32 come out.
            unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut version) }
        });
        Some((bytes?, version))
    }

    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> SharedDataWrite {
        let (k, v) = (key, value);
        // SAFETY: pointers and sizes of live slices.
        let status =
            unsafe { proxy_set_shared_data(k.as_ptr(), k.len(), v.as_ptr(), v.len(), version) };
        match Status::of(status) {
            Status::Ok => SharedDataWrite::Done,
            Status::CasMismatch => SharedDataWrite::CasMismatch,
            Status::Failed => SharedDataWrite::Failed,
        }
    }

    fn set_tick_period(&self, period: u32) -> bool {
        // SAFETY: a number.
        is_ok(unsafe { proxy_set_tick_period_milliseconds(period) })
    }

    fn set_effective_context(&self, context: u32) -> bool {
        // SAFETY: a number.
        is_ok(unsafe { proxy_set_effective_context(context) })
    }

    // A host without such a function has no cached route, or clears it by itself: Envoy does so for a module of this
    // ABI version. While one context acts for another, Envoy applies this to the former, and only clears by itself.
    fn clear_route_cache(&self) {
        self.call_foreign_function("clear_route_cache", &[]);
    }

    fn http_call(&self, cluster: &str, headers: &[(&str, &str)], timeout: Duration) -> Option<u32> {
        let pairs: Vec<(&[u8], &[u8])> =
            headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let (headers, trailers) = (header_map::write(&pairs), header_map::write(&[]));
        let timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let mut token = 0;
        // SAFETY: pointers and sizes of live slices, and no body; the host writes one u32.
        let status = unsafe {
            proxy_http_call(
                cluster.as_ptr(),
                cluster.len(),
                headers.as_ptr(),
                headers.len(),
                null(),
                0,
                trailers.as_ptr(),
                trailers.len(),
                timeout,
                &mut token,
            )
        };
        is_ok(status).then_some(token)
    }

    fn continue_request(&self) {
        // SAFETY: a number.
        unsafe {
            proxy_continue_stream(StreamType::HttpRequest);
        }
    }

    fn header_map(&self, map: HeaderMap) -> Option<HeaderLines> {
        let bytes = returned(|data, size| {
            // SAFETY: the host writes a pointer from our allocator and its size.
            unsafe { proxy_get_header_map_pairs(map_type(map), data, size) }
        });
        header_map::read(&bytes?, SPARE.take())
    }

    fn recycle(&self, lines: HeaderLines) {
        let bytes =
            lines.iter().map(|(name, value)| name.capacity().saturating_add(value.capacity()));
        if lines.len() <= SPARE_LINES && bytes.fold(0, usize::saturating_add) <= SPARE_BYTES {
            SPARE.set(lines);
        }
    }

    fn replace_header(&self, map: HeaderMap, name: &[u8], value: &[u8]) -> bool {
        let (m, n, v) = (map_type(map), name, value);
        // SAFETY: pointers and sizes of live slices.
        is_ok(unsafe {
            proxy_replace_header_map_value(m, n.as_ptr(), n.len(), v.as_ptr(), v.len())
        })
    }

    fn add_header(&self, map: HeaderMap, name: &[u8], value: &[u8]) -> bool {
        let (m, n, v) = (map_type(map), name, value);
        // SAFETY: pointers and sizes of live slices.
        is_ok(unsafe { proxy_add_header_map_value(m, n.as_ptr(), n.len(), v.as_ptr(), v.len()) })
    }

    fn remove_header(&self, map: HeaderMap, name: &[u8]) -> bool {
        // SAFETY: pointer and size of a live slice.
        is_ok(unsafe { proxy_remove_header_map_value(map_type(map), name.as_ptr(), name.len()) })
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let path = path.join("\0");
        returned(|data, size| {
            // SAFETY: a live slice goes in; a pointer from our allocator and its size come out.
            unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }
        })
    }

    fn set_property(&self, name: &str, value: &str) {
        // SAFETY: pointers and sizes of live slices.
        unsafe {
            proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len());
        }
    }

    fn call_foreign_function(&self, name: &str, arguments: &[u8]) -> Option<Vec<u8>> {
        let (n, a) = (name, arguments);
        returned(|data, size| {
            // SAFETY: live slices go in; a pointer from our allocator and its size come out.
            unsafe {
                proxy_call_foreign_function(n.as_ptr(), n.len(), a.as_ptr(), a.len(), data, size)
            }
        })
    }

    fn log(&self, level: LogLevel, line: &str) {
        // SAFETY: pointer and size of a live slice.
        unsafe {
            proxy_log(log_level(level), line.as_ptr(), line.len());
        }
    }

    fn logs(&self, level: LogLevel) -> bool {
        let mut least = 0;
        // SAFETY: the host writes one i32.
        let status = unsafe { proxy_get_log_level(&mut least) };
        is_ok(status) && least <= level_number(log_level(level))
    }

    fn define_metric(&self, kind: Kind, name: &str) -> Option<u32> {
        let kind = match kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        let mut id = 0;
        // SAFETY: a live slice goes in; the host writes one u32.
        let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) };
        is_ok(status).then_some(id)
    }

    fn increment_metric(&self, id: u32, offset: i64) {
        // SAFETY: only numbers.
        unsafe {
            proxy_increment_metric(id, offset);
        }
    }

    fn record_metric(&self, id: u32, value: u64) {
        // SAFETY: only numbers.
        unsafe {
            proxy_record_metric(id, value);
        }
    }

    fn send_local_reply(&self, reply: &Reply) {
        let headers: Vec<(&[u8], &[u8])> =
            reply.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let headers = header_map::write(&headers);
        let (details, body) = (reply.details.as_bytes(), reply.body.as_bytes());
        // SAFETY: pointers and sizes of live slices. -1: the host maps the status for gRPC requests.
        unsafe {
            proxy_send_local_response(
                u32::from(reply.status),
                details.as_ptr(),
                details.len(),
                body.as_ptr(),
                body.len(),
                headers.as_ptr(),
                headers.len(),
                -1,
            );
        }
    }
}

fn map_type(map: HeaderMap) -> MapType {
    match map {
        HeaderMap::RequestHeaders => MapType::HttpRequestHeaders,
        HeaderMap::RequestTrailers => MapType::HttpRequestTrailers,
        HeaderMap::CallResponseHeaders => MapType::HttpCallResponseHeaders,
    }
}

fn log_level(level: LogLevel) -> abi::LogLevel {
    match level {
        LogLevel::Debug => abi::LogLevel::Debug,
        LogLevel::Info => abi::LogLevel::Info,
        LogLevel::Warn => abi::LogLevel::Warn,
        LogLevel::Error => abi::LogLevel::Error,
        LogLevel::Critical => abi::LogLevel::Critical,
    }
}

fn buffer(buffer: BufferType, most: usize) -> Option<Vec<u8>> {
    returned(|data, size| {
        // SAFETY: the host writes a pointer from our allocator and its size.
        unsafe { proxy_get_buffer_bytes(buffer, 0, most, data, size) }
    })
}

fn is_ok(status: u32) -> bool {
    Status::of(status) == Status::Ok
}

/// A buffer that the host returns: it calls our `proxy_on_memory_allocate` for exactly `size` bytes and fills them.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data: *mut u8 = null_mut();
    let mut size: usize = 0;
    match Status::of(call(&mut data, &mut size)) {
        Status::Ok if data.is_null() => Some(Vec::new()),
        // SAFETY: allocated by the SDK as a Vec<u8> of this capacity, and ours now.
        Status::Ok => Some(unsafe { Vec::from_raw_parts(data, size, size) }),
        Status::CasMismatch | Status::Failed => None,
    }
}
