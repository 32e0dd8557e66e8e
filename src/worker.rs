//! What the contexts of a worker share: the host, the key sets, and the requests that wait for them.

use crate::engine::HostEngineOnce;
use crate::host::Host;
use crate::key_sets::KeySets;
use crate::pending::Pending;

/// A worker of the proxy, which has a VM of its own.
pub(crate) struct Worker<H> {
    pub(crate) host: H,
    pub(crate) engine: HostEngineOnce,
    pub(crate) key_sets: KeySets,
    pub(crate) pending: Pending,
}

impl<H: Host> Worker<H> {
    pub(crate) fn new(host: H) -> Self {
        Self {
            host,
            engine: HostEngineOnce::default(),
            key_sets: KeySets::default(),
            pending: Pending::default(),
        }
    }
}
