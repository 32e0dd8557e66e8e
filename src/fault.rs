//! Traps of the VM on demand, in test builds only (feature `fault`): the effect of a bug.

use usher_core::request::Request;

/// Traps if a request asks for it.
pub(crate) fn on_demand(request: &Request) {
    if request.header("x-usher-fault") == Some(b"trap") {
        #[cfg(target_arch = "wasm32")]
        core::arch::wasm32::unreachable();
    }
}

/// Whether a configuration is to be reported to the host as failed, which Usher never does.
pub(crate) fn refuses(configuration: &[u8]) -> bool {
    configuration == b"refuse"
}
