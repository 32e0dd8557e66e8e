//! The module's exports: what the host calls, forwarded to the [`Vm`].
//!
//! The SDK owns the host's names for these functions, and defines them with its dispatcher; the build replaces that by
//! ours (`tools/exports`, `tools/optimize.py`). The SDK allocates memory.

#![expect(unsafe_code, reason = "the ABI is C functions by their names")]

use super::ProxyWasm;
use crate::host::{Host as _, LogLevel};
use crate::vm::Vm;

thread_local! {
    static VM: Vm<ProxyWasm> = Vm::new(ProxyWasm);
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the host calls this once, before anything else.
    unsafe {
        __wasm_call_ctors();
    }
    std::panic::set_hook(Box::new(|panic| ProxyWasm.log(LogLevel::Critical, &panic.to_string())));
    if log::set_logger(&Log).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_context_create(id: u32, root_id: u32) {
    VM.with(|vm| vm.on_context_create(id, root_id));
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_vm_start(_id: u32, _size: usize) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_configure(id: u32, _size: usize) -> u32 {
    VM.with(|vm| vm.on_configure(id)).into()
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_tick(id: u32) {
    VM.with(|vm| vm.on_tick(id));
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_http_call_response(
    id: u32,
    call: u32,
    headers: usize,
    body_size: usize,
    _trailers: usize,
) {
    VM.with(|vm| vm.on_http_call_response(id, call, headers, body_size));
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_request_headers(id: u32, _count: usize, end_of_stream: u32) -> u32 {
    VM.with(|vm| vm.on_request_headers(id, end_of_stream != 0)).number()
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_request_trailers(id: u32, _count: usize) -> u32 {
    VM.with(|vm| vm.on_request_trailers(id)).number()
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_delete(id: u32) {
    VM.with(|vm| vm.on_delete(id));
}

/// Writes what the filter's modules log to the host's log.
struct Log;

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Error => LogLevel::Error,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Info => LogLevel::Info,
            log::Level::Debug | log::Level::Trace => return,
        };
        ProxyWasm.log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}
