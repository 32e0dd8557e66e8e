//! The ABI proxy-wasm 0.2.1: the host's functions, and their numeric constants.
//!
//! The numbers are those of the SDK for Rust. Its calls and its dispatcher are not used: its `Action` cannot express
//! that a whole request is to be held ([`crate::stage::HeadersStatus`]), and both panic, which takes the worker's VM
//! down, at any unexpected context, call or status. Here a status is a number until [`Status::of`] has read it.

#![expect(unsafe_code, reason = "the ABI is C functions over raw pointers")]

pub(super) use ::proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, StreamType};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    pub(super) fn proxy_get_header_map_pairs(
        map: MapType,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_replace_header_map_value(
        map: MapType,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    pub(super) fn proxy_add_header_map_value(
        map: MapType,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    pub(super) fn proxy_remove_header_map_value(
        map: MapType,
        key: *const u8,
        key_size: usize,
    ) -> u32;
    pub(super) fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    pub(super) fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_log(level: LogLevel, message: *const u8, size: usize) -> u32;
    pub(super) fn proxy_get_log_level(level: *mut i32) -> u32;
    pub(super) fn proxy_define_metric(
        kind: MetricType,
        name: *const u8,
        size: usize,
        id: *mut u32,
    ) -> u32;
    pub(super) fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
    pub(super) fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    pub(super) fn proxy_get_buffer_bytes(
        buffer: BufferType,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    pub(super) fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        version: u32,
    ) -> u32;
    pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    pub(super) fn proxy_set_effective_context(context: u32) -> u32;
    pub(super) fn proxy_continue_stream(stream: StreamType) -> u32;
    pub(super) fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
}

/// `proxy_status_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    /// Another worker has written the shared data since it was read.
    CasMismatch,
    /// Any other: the host failed.
    Failed,
}

impl Status {
    /// Reads the status that a host's function returned, including unknown ones.
    pub(super) fn of(number: u32) -> Self {
        match number {
            0 => Self::Ok,
            8 => Self::CasMismatch,
            _ => Self::Failed,
        }
    }
}

/// `proxy_log_level_t`, to be compared with the host's level.
pub(super) fn level_number(level: LogLevel) -> i32 {
    match level {
        LogLevel::Trace => 0,
        LogLevel::Debug => 1,
        LogLevel::Info => 2,
        LogLevel::Warn => 3,
        LogLevel::Error => 4,
        LogLevel::Critical => 5,
    }
}
