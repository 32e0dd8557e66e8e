//! Calls to the host, by bytes and without a panic.
//!
//! The SDK's wrappers panic on a header name that is not UTF-8 and on any status that they do not
//! expect, and its local reply cannot carry response-code details. A panic here is a trap, and a trap
//! takes the worker's whole VM down; so the calls on a request's way are made here, and every status
//! becomes a value. ABI: proxy-wasm 0.2.1.

#![expect(unsafe_code, reason = "the ABI is C functions over raw pointers")]

use std::ptr::null_mut;

use proxy_wasm::types::{MapType, Status};

use crate::reply::Reply;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> Status;
    fn proxy_get_header_map_pairs(map: MapType, data: *mut *mut u8, size: *mut usize) -> Status;
    fn proxy_replace_header_map_value(
        map: MapType,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    fn proxy_add_header_map_value(
        map: MapType,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    fn proxy_remove_header_map_value(map: MapType, key: *const u8, key_size: usize) -> Status;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> Status;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> Status;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> Status;
}

/// Unix time in seconds; 0, at which every token is early, where the host has no clock.
pub(super) fn unix_time() -> u64 {
    let mut nanoseconds = 0;
    // SAFETY: the host writes one u64.
    match unsafe { proxy_get_current_time_nanoseconds(&mut nanoseconds) } {
        Status::Ok => nanoseconds / 1_000_000_000,
        _ => 0,
    }
}

/// All headers or trailers, names as the host has them (lower-case). `None` where the host does not
/// tell them: that is not the same as there being none.
pub(super) fn header_map(map: MapType) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let bytes = returned(|data, size| {
        // SAFETY: the host writes a pointer from our allocator and its size.
        unsafe { proxy_get_header_map_pairs(map, data, size) }
    });
    pairs(&bytes?)
}

/// Sets a header to one line. Answers whether the host did.
pub(super) fn replace_header(map: MapType, name: &[u8], value: &[u8]) -> bool {
    let (n, v) = (name, value);
    // SAFETY: pointers and sizes of live slices.
    let status =
        unsafe { proxy_replace_header_map_value(map, n.as_ptr(), n.len(), v.as_ptr(), v.len()) };
    matches!(status, Status::Ok)
}

/// Adds a line to a header. Answers whether the host did.
pub(super) fn add_header(map: MapType, name: &[u8], value: &[u8]) -> bool {
    let (n, v) = (name, value);
    // SAFETY: pointers and sizes of live slices.
    let status =
        unsafe { proxy_add_header_map_value(map, n.as_ptr(), n.len(), v.as_ptr(), v.len()) };
    matches!(status, Status::Ok)
}

/// Removes a header with all its lines. Answers whether the host did.
pub(super) fn remove_header(map: MapType, name: &[u8]) -> bool {
    // SAFETY: pointer and size of a live slice.
    let status = unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) };
    matches!(status, Status::Ok)
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

/// A buffer that the host returns: it asks our `proxy_on_memory_allocate` for exactly `size` bytes and
/// hands them over.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> Status) -> Option<Vec<u8>> {
    let mut data: *mut u8 = null_mut();
    let mut size: usize = 0;
    match call(&mut data, &mut size) {
        Status::Ok if data.is_null() => Some(Vec::new()),
        // SAFETY: allocated by the SDK's allocator as a Vec<u8> of this capacity, and ours now.
        Status::Ok => Some(unsafe { Vec::from_raw_parts(data, size, size) }),
        _ => None,
    }
}

/// Reads the ABI's map: count, then the sizes of each key and value, then each NUL-terminated.
fn pairs(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let (count, sizes) = number(bytes)?;
    let (mut sizes, mut rest) = sizes.split_at_checked(count.checked_mul(8)?)?;
    let mut text = |size: usize| {
        let (text, tail) = rest.split_at_checked(size)?;
        rest = tail.get(1..)?;
        Some(text.to_vec())
    };
    let mut pairs = Vec::with_capacity(count);
    while !sizes.is_empty() {
        let (name, tail) = number(sizes)?;
        let (value, tail) = number(tail)?;
        sizes = tail;
        pairs.push((text(name)?, text(value)?));
    }
    Some(pairs)
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
