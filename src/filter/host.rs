//! Calls to the host, by bytes and without a panic.
//!
//! A panic is a trap, and a trap takes the worker's whole VM down; so every status becomes a value here.

#![expect(unsafe_code, reason = "the ABI is C functions over raw pointers")]

use std::cell::Cell;
use std::ptr::{null, null_mut};
use std::time::Duration;

use super::abi::*;
use usher_core::observe::metrics::family::Kind;
use usher_core::reply::Reply;

pub(super) use super::abi::{LogLevel, MapType};

/// The version of shared data that nobody has written yet. The host compares versions only where there
/// is something, and counts them up from 1.
pub(super) const ABSENT: u32 = u32::MAX;

/// What became of a write to shared data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swap {
    Done,
    /// Another wrote since.
    Mismatch,
    /// The host does not do it.
    Failed,
}

/// Unix time in seconds; 0 where the host has no clock.
pub(super) fn unix_time() -> u64 {
    unix_millis() / 1000
}

/// Unix time in milliseconds; 0 where the host has no clock.
pub(super) fn unix_millis() -> u64 {
    let mut nanoseconds = 0;
    // SAFETY: the host writes one u64.
    match Status::of(unsafe { proxy_get_current_time_nanoseconds(&mut nanoseconds) }) {
        Status::Ok => nanoseconds / 1_000_000,
        Status::CasMismatch | Status::Failed => 0,
    }
}

/// The configuration of the plugin that is being configured; empty where there is none.
pub(super) fn plugin_configuration() -> Vec<u8> {
    buffer(BufferType::PluginConfiguration, usize::MAX).unwrap_or_default()
}

/// The body of the answer to a call, of this size.
pub(super) fn call_body(size: usize) -> Option<Vec<u8>> {
    if size == 0 {
        return Some(Vec::new());
    }
    buffer(BufferType::HttpCallResponseBody, size)
}

fn buffer(buffer: BufferType, most: usize) -> Option<Vec<u8>> {
    returned(|data, size| {
        // SAFETY: the host writes a pointer from our allocator and its size.
        unsafe { proxy_get_buffer_bytes(buffer, 0, most, data, size) }
    })
}

/// What the workers share under `key`, and its version.
pub(super) fn shared_data(key: &str) -> Option<(Vec<u8>, u32)> {
    let mut version = 0;
    let bytes = returned(|data, size| {
        // SAFETY: a live slice goes in; a pointer from our allocator, its size and a u32 come out.
        unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut version) }
    });
    Some((bytes?, version))
}

/// Shares data, if what is there still has this version (0: whatever is there).
pub(super) fn set_shared_data(key: &str, value: &[u8], version: u32) -> Swap {
    let (k, v) = (key, value);
    // SAFETY: pointers and sizes of live slices.
    let status =
        unsafe { proxy_set_shared_data(k.as_ptr(), k.len(), v.as_ptr(), v.len(), version) };
    match Status::of(status) {
        Status::Ok => Swap::Done,
        Status::CasMismatch => Swap::Mismatch,
        Status::Failed => Swap::Failed,
    }
}

/// Has the root context's timer tick each `period` milliseconds; 0: no more.
pub(super) fn set_tick_period(period: u32) {
    // SAFETY: a number. A host without timers refreshes no keys, which requests will be told.
    unsafe {
        proxy_set_tick_period_milliseconds(period);
    }
}

/// Has the following calls be about another context, until this callback ends. Answers whether there
/// is one.
pub(super) fn set_effective_context(context: u32) -> bool {
    // SAFETY: a number.
    is_ok(unsafe { proxy_set_effective_context(context) })
}

/// Has the host choose the route again, as the headers are now. A host that knows no such function has
/// none that it remembers, or forgets it by itself: Envoy does so for a module of this ABI version. While
/// one context acts for another Envoy takes this for the former, and only forgets by itself.
pub(super) fn clear_route_cache() {
    call_foreign_function("clear_route_cache", &[]);
}

/// Makes a GET or the like, whose answer comes to the root context of the call; the number of the call.
pub(super) fn http_call(cluster: &str, headers: &[(&str, &str)], timeout: Duration) -> Option<u32> {
    let pairs: Vec<(&[u8], &[u8])> =
        headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let (headers, trailers) = (serialize(&pairs), serialize(&[]));
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

/// Lets a paused request go on.
pub(super) fn continue_request() {
    // SAFETY: a number. Whatever the host answers, a request that does not go on reaches nothing.
    unsafe {
        proxy_continue_stream(StreamType::HttpRequest);
    }
}

/// All headers or trailers, names as the host has them (lower-case). `None` where the host does not
/// tell them: that is not the same as there being none.
pub(super) fn header_map(map: MapType) -> Option<Lines> {
    let bytes = returned(|data, size| {
        // SAFETY: the host writes a pointer from our allocator and its size.
        unsafe { proxy_get_header_map_pairs(map, data, size) }
    });
    pairs(&bytes?, SPARE.take())
}

/// Header lines: names and values.
type Lines = Vec<(Vec<u8>, Vec<u8>)>;

thread_local! {
    /// Lines of an earlier request, whose memory the next one uses again: else its headers alone would
    /// take some thirty allocations.
    static SPARE: Cell<Lines> = const { Cell::new(Lines::new()) };
}

/// Most lines and bytes of them that are worth keeping; a large request should not hold its memory.
const SPARE_LINES: usize = 64;
const SPARE_BYTES: usize = 32_768;

/// Takes back what [`header_map`] gave, when it is no longer needed.
pub(super) fn recycle(lines: Lines) {
    let bytes = lines.iter().map(|(name, value)| name.capacity().saturating_add(value.capacity()));
    if lines.len() <= SPARE_LINES && bytes.fold(0, usize::saturating_add) <= SPARE_BYTES {
        SPARE.set(lines);
    }
}

/// Sets a header to one line. Answers whether the host did.
pub(super) fn replace_header(map: MapType, name: &[u8], value: &[u8]) -> bool {
    let (m, n, v) = (map, name, value);
    // SAFETY: pointers and sizes of live slices.
    is_ok(unsafe { proxy_replace_header_map_value(m, n.as_ptr(), n.len(), v.as_ptr(), v.len()) })
}

/// Adds a line to a header. Answers whether the host did.
pub(super) fn add_header(map: MapType, name: &[u8], value: &[u8]) -> bool {
    let (m, n, v) = (map, name, value);
    // SAFETY: pointers and sizes of live slices.
    is_ok(unsafe { proxy_add_header_map_value(m, n.as_ptr(), n.len(), v.as_ptr(), v.len()) })
}

/// Removes a header with all its lines. Answers whether the host did.
pub(super) fn remove_header(map: MapType, name: &[u8]) -> bool {
    // SAFETY: pointer and size of a live slice.
    is_ok(unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) })
}

/// A property (an Envoy attribute), by path; `None` where there is none.
pub(super) fn property(path: &[&str]) -> Option<Vec<u8>> {
    let path = path.join("\0");
    returned(|data, size| {
        // SAFETY: a live slice goes in; a pointer from our allocator and its size come out.
        unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }
    })
}

/// Sets a property of the stream; Envoy has it in filter state as `wasm.<name>`, for access logs. What
/// the host answers is no matter: no decision depends on it.
pub(super) fn set_property(name: &str, value: &str) {
    // SAFETY: pointers and sizes of live slices.
    unsafe {
        proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len());
    }
}

/// What a function of the host's own answers; `None` where it has none of that name, or fails.
pub(super) fn call_foreign_function(name: &str, arguments: &[u8]) -> Option<Vec<u8>> {
    let (n, a) = (name, arguments);
    returned(|data, size| {
        // SAFETY: live slices go in; a pointer from our allocator and its size come out.
        unsafe { proxy_call_foreign_function(n.as_ptr(), n.len(), a.as_ptr(), a.len(), data, size) }
    })
}

/// Writes a line to the host's log.
pub(super) fn log(level: LogLevel, line: &str) {
    // SAFETY: pointer and size of a live slice.
    unsafe {
        proxy_log(level, line.as_ptr(), line.len());
    }
}

/// Whether the host writes lines of `level` at the moment.
pub(super) fn logs(level: LogLevel) -> bool {
    let mut least = 0;
    // SAFETY: the host writes one i32.
    let status = unsafe { proxy_get_log_level(&mut least) };
    is_ok(status) && least <= level_number(level)
}

/// The number of a stat, which is made if there is none of that name.
pub(super) fn define_metric(kind: Kind, name: &str) -> Option<u32> {
    let kind = match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    let mut id = 0;
    // SAFETY: a live slice goes in; the host writes one u32.
    let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) };
    is_ok(status).then_some(id)
}

/// Adds to a counter, or to a gauge, which may also be lowered.
pub(super) fn increment_metric(id: u32, offset: i64) {
    // SAFETY: only numbers. No decision depends on what the host answers.
    unsafe {
        proxy_increment_metric(id, offset);
    }
}

/// Sets a gauge.
pub(super) fn record_metric(id: u32, value: u64) {
    // SAFETY: only numbers. No decision depends on what the host answers.
    unsafe {
        proxy_record_metric(id, value);
    }
}

/// What all workers share under `key`: the value that is there already, else the one that `make` gives.
pub(super) fn shared(key: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let there = || shared_data(key).map(|(value, _)| value).filter(|value| !value.is_empty());
    there().unwrap_or_else(|| {
        let value = make();
        match set_shared_data(key, &value, ABSENT) {
            // Another worker was faster: its value is everyone's.
            Swap::Mismatch => there().unwrap_or(value),
            Swap::Done | Swap::Failed => value,
        }
    })
}

/// Ends the request with a reply; the host maps the status for gRPC requests (grpc_status -1).
pub(super) fn send_local_reply(reply: &Reply) {
    let headers: Vec<(&[u8], &[u8])> =
        reply.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let headers = serialize(&headers);
    let (details, body) = (reply.details.as_bytes(), reply.body.as_bytes());
    // SAFETY: pointers and sizes of live slices. Whatever the host answers, the stream stays paused:
    // nothing reaches the service.
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

fn is_ok(status: u32) -> bool {
    Status::of(status) == Status::Ok
}

/// A buffer that the host returns: it asks our `proxy_on_memory_allocate` for exactly `size` bytes and
/// hands them over.
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

/// Reads the ABI's map: count, then the sizes of each key and value, then each NUL-terminated. `lines` is
/// any memory to write them to.
fn pairs(bytes: &[u8], mut lines: Lines) -> Option<Lines> {
    if bytes.is_empty() {
        return Some(Lines::new());
    }
    let (count, sizes) = number(bytes)?;
    let (mut sizes, mut rest) = sizes.split_at_checked(count.checked_mul(8)?)?;
    let mut text = |size: usize| {
        let (text, tail) = rest.split_at_checked(size)?;
        rest = tail.get(1..)?;
        Some(text)
    };
    lines.truncate(count);
    lines.reserve(count.saturating_sub(lines.len()));
    let mut used = lines.iter_mut();
    let mut more = Lines::new();
    while !sizes.is_empty() {
        let (name, tail) = number(sizes)?;
        let (value, tail) = number(tail)?;
        sizes = tail;
        let (name, value) = (text(name)?, text(value)?);
        match used.next() {
            Some((old_name, old_value)) => {
                old_name.clear();
                old_name.extend_from_slice(name);
                old_value.clear();
                old_value.extend_from_slice(value);
            }
            None => more.push((name.to_vec(), value.to_vec())),
        }
    }
    lines.append(&mut more);
    Some(lines)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// Writes the ABI's map.
fn serialize(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend(size(pairs.len()));
    for (name, value) in pairs {
        bytes.extend(size(name.len()));
        bytes.extend(size(value.len()));
    }
    for (name, value) in pairs {
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(value);
        bytes.push(0);
    }
    bytes
}
