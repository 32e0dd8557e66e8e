//! Which signature engine works here: the host's is put to the test once for each VM.

use std::cell::OnceCell;
use std::rc::Rc;

use usher_core::crypto::SignatureEngine;
use usher_core::crypto::host::{FUNCTION, HostEngine};
use usher_core::crypto::portable::Portable;
use usher_core::policy::Engine;

use crate::host::Host;

/// The host's engine, once it was tested.
#[derive(Default)]
pub(crate) struct HostEngineOnce(OnceCell<HostEngine>);

impl HostEngineOnce {
    /// The engine that the configuration wants; the log says which it is.
    pub(crate) fn chosen<H: Host>(&self, host: &H, engine: Engine) -> Box<dyn SignatureEngine> {
        match engine {
            Engine::Portable => {
                log::info!("usher: signatures: all by the module itself, as configured");
                Box::new(Portable)
            }
            Engine::Auto => {
                let engine = self.0.get_or_init(|| {
                    let host = host.clone();
                    HostEngine::probe(Rc::new(move |message: &[u8]| {
                        host.call_foreign_function(FUNCTION, message)
                    }))
                });
                log::info!("usher: signatures: {engine}");
                Box::new(engine.clone())
            }
        }
    }
}
