//! Which signature engine works here: the host's is put to the test once for each VM.

use std::cell::OnceCell;

use super::host;
use usher_core::crypto::SignatureEngine;
use usher_core::crypto::host::{FUNCTION, HostEngine};
use usher_core::crypto::portable::Portable;
use usher_core::policy::Engine;

thread_local! {
    static HOST: OnceCell<HostEngine> = const { OnceCell::new() };
}

/// The engine that the configuration wants; the log says which it is.
pub(super) fn chosen(engine: Engine) -> Box<dyn SignatureEngine> {
    match engine {
        Engine::Portable => {
            log::info!("usher: signatures: all by the module itself, as configured");
            Box::new(Portable)
        }
        Engine::Auto => {
            let host = HOST.with(|host| host.get_or_init(|| HostEngine::probe(call)).clone());
            log::info!("usher: signatures: {host}");
            Box::new(host)
        }
    }
}

fn call(message: &[u8]) -> Option<Vec<u8>> {
    host::call_foreign_function(FUNCTION, message)
}
