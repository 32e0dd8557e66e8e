//! What the host calls: the module's exports, and the contexts that it calls them for.
//!
//! The SDK owns the host's names for these functions, and its dispatcher stands behind them; the build
//! puts ours there (`tools/exports`, `tools/optimize.py`). How memory is allocated is the SDK's. No borrow is held while a context is at work, so that a host that ends a stream
//! from within another's call finds the table free. A context that is not known is no fault: a root is passed
//! over, a stream is held, or refused.

#![expect(unsafe_code, reason = "the ABI is C functions by their names")]

use std::cell::RefCell;
use std::rc::Rc;

use super::host::{self, LogLevel};
use super::{Root, Stream};
use crate::stream::{HeadersStatus, TrailersStatus};
use usher_core::hash::FastMap;

thread_local! {
    // The host numbers them itself.
    static ROOTS: RefCell<FastMap<u32, Rc<Root>>> = RefCell::default();
    static STREAMS: RefCell<FastMap<u32, Rc<Stream>>> = RefCell::default();
}

fn root(id: u32) -> Option<Rc<Root>> {
    ROOTS.with(|roots| roots.try_borrow().ok()?.get(&id).cloned())
}

/// The stream of this context.
pub(super) fn stream(id: u32) -> Option<Rc<Stream>> {
    STREAMS.with(|streams| streams.try_borrow().ok()?.get(&id).cloned())
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
    std::panic::set_hook(Box::new(|panic| host::log(LogLevel::Critical, &panic.to_string())));
    if log::set_logger(&Log).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_context_create(id: u32, root_id: u32) {
    if root_id == 0 {
        let root = Rc::new(Root::new(id));
        let former = ROOTS.with(|roots| roots.try_borrow_mut().ok()?.insert(id, root));
        drop(former);
    } else {
        // A stream of a root that is gone, or never was, has no configuration: it is refused.
        let root = root(root_id).unwrap_or_else(|| Rc::new(Root::new(root_id)));
        let stream = Rc::new(root.stream(id));
        let former = STREAMS.with(|streams| streams.try_borrow_mut().ok()?.insert(id, stream));
        drop(former);
    }
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_vm_start(_id: u32, _size: usize) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_configure(id: u32, _size: usize) -> u32 {
    root(id).is_some_and(|root| root.on_configure()).into()
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_tick(id: u32) {
    if let Some(root) = root(id) {
        root.on_tick();
    }
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_http_call_response(
    id: u32,
    token: u32,
    headers: usize,
    body_size: usize,
    _trailers: usize,
) {
    if let Some(root) = root(id) {
        root.on_http_call_response(token, headers, body_size);
    }
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_request_headers(id: u32, _count: usize, end_of_stream: u32) -> u32 {
    let status = match stream(id) {
        Some(stream) => stream.on_request_headers(end_of_stream != 0),
        None => HeadersStatus::StopAllIterationAndWatermark,
    };
    status.number()
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_request_trailers(id: u32, _count: usize) -> u32 {
    let status = match stream(id) {
        Some(stream) => stream.on_request_trailers(),
        None => TrailersStatus::StopIteration,
    };
    status.number()
}

#[unsafe(no_mangle)]
extern "C" fn usher_on_delete(id: u32) {
    // Each is dropped here, when the table is free again.
    let stream = STREAMS.with(|streams| streams.try_borrow_mut().ok()?.remove(&id));
    drop(stream);
    let root = ROOTS.with(|roots| roots.try_borrow_mut().ok()?.remove(&id));
    drop(root);
}

/// What the filter's modules log, in the host's log.
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
        host::log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}
