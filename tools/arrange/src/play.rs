//! Plays the module requests, and notes which functions they call.

use std::collections::HashSet;

use anyhow::ensure;
use wasmi::{Engine, Instance, Module, Store};

use crate::host::{self, Host, Signatures, call};
use crate::requests::{Token, configuration, headers};

/// A request, how its signature is judged, and what comes of it; from the most frequent to the rarest.
const REQUESTS: [(&str, Token, Signatures, Option<u32>); 5] = [
    // Twice: the first has its token verified, the second finds it.
    ("/items/7", Token::Same, Signatures::Good, None),
    ("/items/7?size=2", Token::Same, Signatures::Good, None),
    ("/admin/keys", Token::Same, Signatures::Good, Some(403)),
    ("/items/7", Token::None, Signatures::Good, Some(403)),
    ("/items/7", Token::Same, Signatures::Bad, Some(401)),
];

/// The functions that requests call, those of the most frequent requests first, each request's in the order of their
/// first calls.
pub(crate) fn called(traced: &[u8]) -> anyhow::Result<Vec<u32>> {
    let engine = Engine::default();
    let module = Module::new(&engine, traced)?;
    let mut store = Store::new(&engine, Host::default());
    let instance = host::instance(&mut store, &module)?;
    start(&mut store, &instance)?;

    let mut fresh = Vec::new();
    let mut rest = Vec::new();
    for (number, (path, token, signatures, status)) in (2_i32..).zip(REQUESTS) {
        // What is in the cache is not judged again: a bad signature needs another configuration.
        if matches!(signatures, Signatures::Bad) {
            configure(&mut store, &instance)?;
        }
        let host = store.data_mut();
        (host.headers, host.signatures, host.status) = (headers(path, token)?, signatures, None);
        host.called();
        call(&mut store, &instance, "proxy_on_context_create", &[number, 1])?;
        call(&mut store, &instance, "proxy_on_request_headers", &[number, 0, 1])?;
        call(&mut store, &instance, "proxy_on_delete", &[number])?;
        let host = store.data_mut();
        ensure!(host.status == status, "{path}: expected {status:?}, found {:?}", host.status);
        let called = host.called();
        if number == 2 { fresh = called } else { rest.push(called) }
    }
    // What a fresh token needs besides comes behind what every request needs.
    let mut known = HashSet::new();
    let frequent = rest.iter().take(1).chain([&fresh]).chain(rest.iter().skip(1));
    Ok(frequent.flatten().copied().filter(|number| known.insert(*number)).collect())
}

fn start(store: &mut Store<Host>, instance: &Instance) -> anyhow::Result<()> {
    call(store, instance, "_initialize", &[])?;
    call(store, instance, "proxy_on_context_create", &[1, 0])?;
    call(store, instance, "proxy_on_vm_start", &[1, 0])?;
    configure(store, instance)
}

fn configure(store: &mut Store<Host>, instance: &Instance) -> anyhow::Result<()> {
    let configuration = configuration().to_string().into_bytes();
    let size = i32::try_from(configuration.len())?;
    let host = store.data_mut();
    (host.configuration, host.signatures) = (configuration, Signatures::default());
    call(store, instance, "proxy_on_configure", &[1, size])
}
