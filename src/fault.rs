//! VM faults on demand, in test builds only (feature `fault`): what a bug would do.

use usher_core::request::Request;

/// Traps where a request asks for it.
pub(crate) fn on_demand(request: &Request) {
    if request.header("x-usher-fault") == Some(b"trap") {
        #[cfg(target_arch = "wasm32")]
        core::arch::wasm32::unreachable();
    }
}

/// Whether a configuration is one that the host is to be told is wrong, which Usher never does.
pub(crate) fn refuses(configuration: &[u8]) -> bool {
    configuration == b"refuse"
}
