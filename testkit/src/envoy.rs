//! A real Envoy with Usher, in front of the upstream.
//!
//! It has any number of listeners, each with an Usher of its own. It may stand in a `static`: Envoy ends with the
//! test process, even if that is killed.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;
use usher_envoy::Process;

use crate::bootstrap::{self, Setup, Site};
use crate::client::{Reply, Request, http1, http2};
use crate::config;
use crate::log::{Entry, Log};
use crate::paths::{directory, module, pinned_envoy};
use crate::process;
use crate::secrets;
use crate::stats::{self, Series, Tags};
use crate::tls::{Authority, Caller, Identity};
use crate::upstream::Upstream;

/// Describes an Envoy, and starts it.
pub struct Builder {
    binary: PathBuf,
    module: Option<PathBuf>,
    workers: usize,
    clusters: Vec<Value>,
    metadata: Value,
    listeners: Vec<(String, Setup)>,
    tags: Tags,
}

/// A running Envoy.
pub struct Envoy {
    listeners: HashMap<String, SocketAddr>,
    access_log: Log,
    process: Process,
    site: Site,
    setups: Mutex<Vec<(String, Setup)>>,
}

/// An Envoy's memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident, in KiB: with what V8 holds for the module, which its collector frees now and then.
    pub resident: u64,
    /// Bytes that Envoy itself has allocated.
    pub allocated: u64,
}

/// One listener of a running Envoy.
#[derive(Clone, Copy)]
pub struct Listener<'g> {
    envoy: &'g Envoy,
    address: SocketAddr,
}

impl Envoy {
    /// The pinned Envoy, without listeners yet.
    pub fn builder() -> Builder {
        Builder {
            binary: pinned_envoy(),
            module: None,
            workers: 1,
            clusters: Vec::new(),
            metadata: Value::Null,
            listeners: Vec::new(),
            tags: Tags::default(),
        }
    }

    /// One with a single listener, called `usher`, of this pluginConfig.
    pub fn with(configuration: Value) -> Builder {
        Self::builder().listener("usher", Setup::plugin(configuration))
    }

    /// The listener called `name`.
    ///
    /// # Panics
    /// When the builder had none of that name.
    #[track_caller]
    pub fn listener(&self, name: &str) -> Listener<'_> {
        let address = self.listeners.get(name).unwrap_or_else(|| panic!("no listener {name}"));
        Listener { envoy: self, address: *address }
    }

    /// Whether Envoy took the listener called `name`.
    pub fn has_listener(&self, name: &str) -> bool {
        self.listeners.contains_key(name)
    }

    /// Changes the listener `name` to `setup`. Envoy discovers it a moment later.
    ///
    /// # Panics
    /// When the builder had none of that name.
    #[track_caller]
    pub fn reconfigure(&self, name: &str, setup: Setup) {
        let mut setups = self.setups.lock().unwrap();
        let (_, old) =
            setups.iter_mut().find(|(n, _)| n == name).expect("a listener of the builder");
        *old = setup;
        self.site.publish(&setups);
    }

    /// Envoy's own log.
    pub fn log(&self) -> Log {
        Log::new(&self.process.log())
    }

    /// Every request that Envoy has answered and logged so far.
    pub fn access_log(&self) -> &Log {
        &self.access_log
    }

    /// What Envoy takes of the machine's memory now.
    pub fn memory(&self) -> Memory {
        let heap: Value = serde_json::from_str(&self.admin("/memory")).unwrap();
        let allocated = heap["allocated"].as_str().and_then(|bytes| bytes.parse().ok());
        Memory { resident: self.process.resident().unwrap(), allocated: allocated.expect("bytes") }
    }

    /// GET of a path of Envoy's admin interface, such as `/config_dump`.
    pub fn admin(&self, path: &str) -> String {
        self.process.get(path).unwrap()
    }

    /// Where the admin interface is.
    pub fn admin_address(&self) -> SocketAddr {
        self.process.admin_address()
    }

    /// Sets the level of Envoy's `wasm` log, such as `debug`.
    pub fn log_wasm(&self, level: &str) {
        self.process.post(&format!("/logging?wasm={level}")).unwrap();
    }

    /// Envoy's counters and gauges whose names match a regular expression.
    pub fn stats(&self, filter: &str) -> Vec<(String, u64)> {
        let text = self.admin(&format!("/stats?filter={filter}"));
        let read = |line: &str| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        text.lines().filter_map(read).collect()
    }

    /// Usher's metrics, as Prometheus would read them now.
    pub fn metrics(&self) -> Vec<Series> {
        stats::series(&self.admin("/stats/prometheus"))
    }

    /// The directory with the configuration and the logs.
    pub fn directory(&self) -> &Path {
        &self.site.directory
    }
}

impl Builder {
    /// Adds a listener.
    pub fn listener(mut self, name: &str, setup: Setup) -> Self {
        self.listeners.push((name.to_owned(), setup));
        self
    }

    /// Adds a cluster of this one endpoint.
    pub fn cluster(self, name: &str, endpoint: SocketAddr) -> Self {
        self.cluster_of(config::cluster(name, endpoint))
    }

    /// Adds a cluster, as it stands in Envoy's configuration.
    pub fn cluster_of(mut self, cluster: Value) -> Self {
        self.clusters.push(cluster);
        self
    }

    /// Gives the node this metadata, such as the `ISTIO_VERSION` of a proxy of Istio's.
    pub fn metadata(mut self, metadata: Value) -> Self {
        self.metadata = metadata;
        self
    }

    /// Runs this many worker threads instead of one.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Runs this module instead of the built one.
    pub fn module(mut self, module: &Path) -> Self {
        self.module = Some(module.to_owned());
        self
    }

    /// Runs in the Envoy at `binary` instead of the pinned one.
    pub fn binary(mut self, binary: &Path) -> Self {
        self.binary = binary.to_owned();
        self
    }

    /// Takes labels out of the names of stats by these rules.
    pub fn tags(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    /// Starts Envoy and waits until it serves.
    ///
    /// # Panics
    /// With Envoy's log, when it does not become ready.
    pub fn start(self) -> Envoy {
        let guarded = self.listeners.iter().any(|(_, setup)| setup.has_plugin());
        let module = match self.module {
            Some(module) => module,
            None if guarded => module(),
            None => PathBuf::new(),
        };
        let (clusters, metadata) = (self.clusters, self.metadata);
        let site = Site { module, directory: directory(), clusters, metadata };
        site.publish(&self.listeners);
        let bootstrap = bootstrap::envoy(&site, self.tags, &self.listeners);
        let process = process::start(&self.binary, &bootstrap, &site.directory, self.workers);
        Envoy {
            listeners: process::listeners(&process),
            access_log: Log::new(&site.access_log()),
            process,
            site,
            setups: Mutex::new(self.listeners),
        }
    }
}

impl Listener<'_> {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection for many requests, one after the other.
    pub fn connect(&self) -> Connection {
        Connection { connection: http1::Connection::new(http1::connect(self.address)) }
    }

    /// Sends `request` and does not wait for the answer: the connection ends when what is returned does.
    pub fn leave(&self, request: &Request) -> std::net::TcpStream {
        let mut stream = http1::connect(self.address);
        let bytes = http1::encode(&Request::case(), request);
        secrets::sent(&bytes);
        stream.write_all(&bytes).unwrap();
        stream
    }

    /// Sends `request` over HTTP/1.1, byte by byte as it is.
    pub fn http1(&self, request: &Request) -> Reply {
        let case = Request::case();
        seen(http1::exchange(http1::connect(self.address), &case, request))
    }

    /// Sends `requests` one after the other on one HTTP/1.1 connection.
    pub fn series<'a>(&self, requests: impl IntoIterator<Item = &'a Request>) -> Vec<Reply> {
        let mut connection = http1::Connection::new(http1::connect(self.address));
        requests
            .into_iter()
            .map(|request| seen(connection.exchange(&Request::case(), request)))
            .collect()
    }

    /// Sends `request` over HTTP/2.
    pub fn http2(&self, request: &Request) -> Reply {
        seen(http2::exchange(self.address, &Request::case(), request))
    }

    /// Sends `request` over HTTP/1.1 and over HTTP/2.
    pub fn both(&self, request: &Request) -> [Reply; 2] {
        [self.http1(request), self.http2(request)]
    }

    /// Sends `request` over HTTP/1.1 in TLS, see [`Authority`]; `sni`: [`crate::tls::SERVER`] or a label below.
    pub fn tls(
        &self,
        authority: &Authority,
        identity: Option<&Identity>,
        sni: &str,
        request: &Request,
    ) -> Reply {
        seen(authority.exchange(self.address, identity, sni, &Request::case(), request))
    }

    /// Sends `request` over HTTP/1.1 in TLS as `caller`. Answers whether its session was resumed, too.
    pub fn tls_as(&self, caller: &Caller, request: &Request) -> (Reply, bool) {
        let (reply, resumed) = caller.exchange(self.address, &Request::case(), request);
        (seen(reply), resumed)
    }

    /// Sends `request` on a connection that was made to this listener before.
    pub fn on(
        &self,
        connection: &mut http1::Connection<impl http1::Wire>,
        request: &Request,
    ) -> Reply {
        seen(connection.exchange(&Request::case(), request))
    }

    /// Sends bytes as they are over TCP. `{case}` in them is replaced by the request's name.
    pub fn raw(&self, bytes: &[u8]) -> Reply {
        let case = Request::case();
        let parts: Vec<&[u8]> = split(bytes, b"{case}");
        seen(http1::raw(http1::connect(self.address), &case, &parts.join(case.as_bytes())))
    }

    /// What Envoy's access log says of the request that was answered by `reply`.
    #[track_caller]
    pub fn entry(&self, reply: &Reply) -> Entry {
        self.envoy.access_log.entry(&reply.case)
    }

    /// Asserts that `reply` is the refusal `code`, in every place that shows it, and
    /// that the service saw nothing of the request.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn assert_denied(&self, reply: &Reply, status: u16, body: &str, code: &str) {
        assert_eq!((reply.status, reply.text().as_str()), (status, body), "{code}: {reply}");
        assert_eq!(reply.seen, None, "{code}: {reply}");
        let entry = self.entry(reply);
        let details = format!("usher_denied{{{code}}}");
        assert_eq!(entry.details.as_deref(), Some(details.as_str()), "{reply}{entry:?}");
    }
}

/// One HTTP/1.1 connection to a listener.
pub struct Connection {
    connection: http1::Connection<std::net::TcpStream>,
}

impl Connection {
    /// Sends `request` and reads the answer.
    pub fn send(&mut self, request: &Request) -> Reply {
        seen(self.connection.exchange(&Request::case(), request))
    }
}

fn seen(reply: Reply) -> Reply {
    Reply { seen: Upstream::shared().seen(&reply.case), ..reply }
}

fn split<'b>(mut bytes: &'b [u8], mark: &[u8]) -> Vec<&'b [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + mark.len()..];
    }
    parts.push(bytes);
    parts
}
