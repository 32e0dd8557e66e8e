//! Which signature engine works here: the host's is tested once for each VM.

use std::cell::OnceCell;
use std::rc::Rc;

use usher_core::crypto::SignatureEngine;
use usher_core::crypto::host::{FUNCTION, HostEngine};
use usher_core::crypto::portable::Portable;
use usher_core::policy::Engine;

use crate::host::Host;

/// The host's engine, once tested.
#[derive(Default)]
pub(crate) struct HostEngineOnce(OnceCell<HostEngine>);

impl HostEngineOnce {
    /// The engine that the configuration selects; it is logged.
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
