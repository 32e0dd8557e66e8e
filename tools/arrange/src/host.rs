//! A host that answers the module as Envoy does, as far as the module's way depends on it.

use anyhow::Context as _;
use wasmi::errors::LinkerError;
use wasmi::{Caller, Extern, Func, Instance, Linker, Memory, Module, Store, Val};

use crate::order::ENTER;

/// What the host knows, and what the module has it do.
#[derive(Default)]
pub(crate) struct Host {
    /// What the plugin is configured with.
    pub(crate) configuration: Vec<u8>,
    /// The request's headers, as the ABI writes them.
    pub(crate) headers: Vec<u8>,
    /// How the host judges signatures.
    pub(crate) signatures: Signatures,
    /// The status of the answer that the module gave in place of the service.
    pub(crate) status: Option<u32>,
    called: Vec<u32>,
    metrics: u32,
}

/// How the host judges signatures.
#[derive(Clone, Copy)]
pub(crate) enum Signatures {
    /// None is good.
    Bad,
    /// Each is good.
    Good,
    /// One is good and the next two are not: so the module's known answers come.
    Known(u8),
}

impl Default for Signatures {
    fn default() -> Self {
        Self::Known(0)
    }
}

impl Host {
    /// The functions that were entered since it was asked last, call by call.
    pub(crate) fn called(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.called)
    }

    fn verify(&mut self) -> bool {
        match self.signatures {
            Signatures::Good => true,
            Signatures::Bad => false,
            Signatures::Known(turn) => {
                self.signatures = Signatures::Known((turn + 1) % 3);
                turn == 0
            }
        }
    }
}

type Call<'h> = Caller<'h, Host>;

/// ABI: proxy_status_t.
const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
/// ABI: proxy_buffer_type_t.
const PLUGIN_CONFIGURATION: i32 = 7;

/// The module on this host. Imports that are not named here answer 0, which is `OK`.
pub(crate) fn instance(store: &mut Store<Host>, module: &Module) -> anyhow::Result<Instance> {
    let mut linker = Linker::new(store.engine());
    linker.func_wrap(ENTER.0, ENTER.1, |mut call: Call<'_>, number: u32| {
        call.data_mut().called.push(number)
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_current_time_nanoseconds",
        |mut call: Call<'_>, time: u32| {
            write(
                &mut call,
                time,
                &super::requests::NOW.saturating_mul(1_000_000_000).to_le_bytes(),
            )
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |mut call: Call<'_>, _map: u32, data: u32, size: u32| {
            let headers = call.data().headers.clone();
            give(&mut call, &headers, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |mut call: Call<'_>, buffer: i32, _start: u32, _most: u32, data: u32, size: u32| {
            if buffer != PLUGIN_CONFIGURATION {
                return Ok(NOT_FOUND);
            }
            let configuration = call.data().configuration.clone();
            give(&mut call, &configuration, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |mut call: Call<'_>, path: u32, path_size: u32, data: u32, size: u32| match read(
            &call, path, path_size,
        )?
        .as_slice()
        {
            b"plugin_name" | b"plugin_root_id" => give(&mut call, b"usher", data, size),
            b"source\0address" => give(&mut call, b"192.0.2.7:40000", data, size),
            _ => Ok(NOT_FOUND),
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |_: u32, _: u32, _: u32, _: u32, _: u32| NOT_FOUND,
    )?;
    linker.func_wrap("env", "proxy_get_log_level", |mut call: Call<'_>, level: u32| {
        // ABI: proxy_log_level, warn.
        write(&mut call, level, &3_u32.to_le_bytes())
    })?;
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |mut call: Call<'_>, _kind: u32, _name: u32, _size: u32, id: u32| {
            let number = call.data().metrics.saturating_add(1);
            call.data_mut().metrics = number;
            write(&mut call, id, &number.to_le_bytes())
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_call_foreign_function",
        |mut call: Call<'_>, _name: u32, _name_size: u32, _: u32, _: u32, data: u32, size: u32| {
            // message VerifySignatureResult: field 1, true; false is not written.
            let answer: &[u8] = if call.data_mut().verify() { &[0x08, 1] } else { &[] };
            give(&mut call, answer, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |mut call: Call<'_>,
         status: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: i32| {
            call.data_mut().status = Some(status);
            OK
        },
    )?;
    for import in module.imports() {
        let Some(ty) = import.ty().func() else { continue };
        let zeros: Vec<Val> = ty.results().iter().map(|ty| Val::default(*ty)).collect();
        let answer = move |_: Call<'_>, _: &[Val], results: &mut [Val]| {
            results.clone_from_slice(&zeros);
            Ok(())
        };
        let function = Func::new(&mut *store, ty.clone(), answer);
        match linker.define(import.module(), import.name(), function) {
            Ok(_) | Err(LinkerError::DuplicateDefinition { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(linker.instantiate_and_start(&mut *store, module)?)
}

fn memory(call: &Call<'_>) -> Result<Memory, wasmi::Error> {
    let memory = call.get_export("memory").and_then(Extern::into_memory);
    memory.ok_or_else(|| wasmi::Error::new("the module exports no memory"))
}

fn read(call: &Call<'_>, from: u32, size: u32) -> Result<Vec<u8>, wasmi::Error> {
    let (from, size) = (address(from)?, address(size)?);
    let bytes = memory(call)?.data(call).get(from..from.saturating_add(size)).map(<[u8]>::to_vec);
    bytes.ok_or_else(|| wasmi::Error::new("an address beyond the module's memory"))
}

fn write(call: &mut Call<'_>, to: u32, bytes: &[u8]) -> Result<i32, wasmi::Error> {
    memory(call)?.write(&mut *call, address(to)?, bytes)?;
    Ok(OK)
}

/// Hands bytes over, in memory that the module allocates for them.
fn give(call: &mut Call<'_>, bytes: &[u8], data: u32, size: u32) -> Result<i32, wasmi::Error> {
    let count = u32::try_from(bytes.len()).map_err(|error| wasmi::Error::new(error.to_string()))?;
    let mut at = 0;
    if count > 0 {
        let allocate = call.get_export("proxy_on_memory_allocate").and_then(Extern::into_func);
        let allocate =
            allocate.ok_or_else(|| wasmi::Error::new("the module allocates no memory"))?;
        at = allocate.typed::<u32, u32>(&*call)?.call(&mut *call, count)?;
        write(call, at, bytes)?;
    }
    write(call, data, &at.to_le_bytes())?;
    write(call, size, &count.to_le_bytes())
}

fn address(number: u32) -> Result<usize, wasmi::Error> {
    usize::try_from(number).map_err(|error| wasmi::Error::new(error.to_string()))
}

/// Calls an export with numbers, and forgets what it answers.
pub(crate) fn call(
    store: &mut Store<Host>,
    instance: &Instance,
    name: &str,
    numbers: &[i32],
) -> anyhow::Result<()> {
    let function = instance
        .get_func(&*store, name)
        .with_context(|| format!("the module exports no {name}"))?;
    let mut answers = vec![Val::I32(0); function.ty(&*store).results().len()];
    let numbers: Vec<Val> = numbers.iter().copied().map(Val::I32).collect();
    function.call(&mut *store, &numbers, &mut answers).with_context(|| name.to_owned())
}
