//! A gate: a real Envoy with Usher, in front of the upstream.
//!
//! One Envoy has any number of listeners, each with an Usher configured as it likes. A gate may
//! stand in a `static`: its Envoy ends with the test process, however that ends.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex};

use serde_json::Value;
use usher_envoy::Process;

use crate::bootstrap::{self, Setup, Site};
use crate::client::{Ask, Reply, http1, http2};
use crate::config;
use crate::log::{Entry, Log};
use crate::process;
use crate::secrets;
use crate::skip;
use crate::stats::{self, Series, Tags};
use crate::tls::{Authority, Caller, Identity};
use crate::upstream::Upstream;

/// A gate that is being described.
pub struct Plan {
    envoy: PathBuf,
    module: Option<PathBuf>,
    workers: usize,
    clusters: Vec<Value>,
    metadata: Value,
    doors: Vec<(String, Setup)>,
    tags: Tags,
}

/// A running gate.
pub struct Gate {
    doors: HashMap<String, SocketAddr>,
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

/// One listener of a running gate.
#[derive(Clone, Copy)]
pub struct Door<'g> {
    gate: &'g Gate,
    address: SocketAddr,
}

impl Gate {
    /// A gate without doors yet, in the pinned Envoy.
    pub fn plan() -> Plan {
        Plan {
            envoy: pinned_envoy(),
            module: None,
            workers: 1,
            clusters: Vec::new(),
            metadata: Value::Null,
            doors: Vec::new(),
            tags: Tags::default(),
        }
    }

    /// The plan of a gate with one door, called `usher`, of this pluginConfig.
    pub fn with(configuration: Value) -> Plan {
        Self::plan().door("usher", Setup::plugin(configuration))
    }

    /// The door called `name`.
    ///
    /// # Panics
    /// When the plan had none of that name.
    #[track_caller]
    pub fn door(&self, name: &str) -> Door<'_> {
        let address = self.doors.get(name).unwrap_or_else(|| panic!("no door {name}"));
        Door { gate: self, address: *address }
    }

    /// Changes the door `name` to `setup`. Envoy takes it up on its own, a moment later.
    ///
    /// # Panics
    /// When the plan had none of that name.
    #[track_caller]
    pub fn reconfigure(&self, name: &str, setup: Setup) {
        let mut setups = self.setups.lock().unwrap();
        let (_, old) = setups.iter_mut().find(|(n, _)| n == name).expect("a planned door");
        *old = setup;
        self.site.publish(&setups);
    }

    /// Envoy's own log.
    pub fn log(&self) -> Log {
        Log::new(&self.process.log())
    }

    /// Every request that this gate has answered and written down so far.
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

impl Plan {
    /// Adds a door.
    pub fn door(mut self, name: &str, setup: Setup) -> Self {
        self.doors.push((name.to_owned(), setup));
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

    /// Lets Envoy have so many worker threads instead of one.
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
    pub fn envoy(mut self, binary: &Path) -> Self {
        self.envoy = binary.to_owned();
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
    pub fn start(self) -> Gate {
        let guarded = self.doors.iter().any(|(_, setup)| setup.has_plugin());
        let module = match self.module {
            Some(module) => module,
            None if guarded => module(),
            None => PathBuf::new(),
        };
        let (clusters, metadata) = (self.clusters, self.metadata);
        let site = Site { module, directory: directory(), clusters, metadata };
        site.publish(&self.doors);
        let bootstrap = bootstrap::envoy(&site, self.tags, &self.doors);
        let process = process::start(&self.envoy, &bootstrap, &site.directory, self.workers);
        Gate {
            doors: process::listeners(&process),
            access_log: Log::new(&site.access_log()),
            process,
            site,
            setups: Mutex::new(self.doors),
        }
    }
}

impl Door<'_> {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection for many requests, one after the other.
    pub fn line(&self) -> Line {
        Line { connection: http1::Connection::new(http1::connect(self.address)) }
    }

    /// Sends `ask` and does not wait for the answer: the connection ends when what is returned does.
    pub fn leave(&self, ask: &Ask) -> std::net::TcpStream {
        let mut stream = http1::connect(self.address);
        let bytes = http1::encode(&Ask::case(), ask);
        secrets::sent(&bytes);
        stream.write_all(&bytes).unwrap();
        stream
    }

    /// Sends `ask` over HTTP/1.1, byte by byte as it is.
    pub fn http1(&self, ask: &Ask) -> Reply {
        let case = Ask::case();
        seen(http1::exchange(http1::connect(self.address), &case, ask))
    }

    /// Sends `asks` one after the other on one HTTP/1.1 connection.
    pub fn series<'a>(&self, asks: impl IntoIterator<Item = &'a Ask>) -> Vec<Reply> {
        let mut connection = http1::Connection::new(http1::connect(self.address));
        asks.into_iter().map(|ask| seen(connection.exchange(&Ask::case(), ask))).collect()
    }

    /// Sends `ask` over HTTP/2.
    pub fn http2(&self, ask: &Ask) -> Reply {
        seen(http2::exchange(self.address, &Ask::case(), ask))
    }

    /// Sends `ask` over HTTP/1.1 and over HTTP/2.
    pub fn both(&self, ask: &Ask) -> [Reply; 2] {
        [self.http1(ask), self.http2(ask)]
    }

    /// Sends `ask` over HTTP/1.1 in TLS, see [`Authority`]; `sni`: [`crate::tls::SERVER`] or a label below.
    pub fn tls(
        &self,
        authority: &Authority,
        identity: Option<&Identity>,
        sni: &str,
        ask: &Ask,
    ) -> Reply {
        seen(authority.exchange(self.address, identity, sni, &Ask::case(), ask))
    }

    /// Sends `ask` over HTTP/1.1 in TLS as `caller`. Answers whether its session was resumed, too.
    pub fn tls_as(&self, caller: &Caller, ask: &Ask) -> (Reply, bool) {
        let (reply, resumed) = caller.exchange(self.address, &Ask::case(), ask);
        (seen(reply), resumed)
    }

    /// Sends `ask` on a connection that was made to this door before.
    pub fn on(&self, connection: &mut http1::Connection<impl http1::Wire>, ask: &Ask) -> Reply {
        seen(connection.exchange(&Ask::case(), ask))
    }

    /// Sends bytes as they are over TCP. `{case}` in them is replaced by the request's name.
    pub fn raw(&self, bytes: &[u8]) -> Reply {
        let case = Ask::case();
        let parts: Vec<&[u8]> = split(bytes, b"{case}");
        seen(http1::raw(http1::connect(self.address), &case, &parts.join(case.as_bytes())))
    }

    /// What Envoy's access log says of the request that was answered by `reply`.
    #[track_caller]
    pub fn entry(&self, reply: &Reply) -> Entry {
        self.gate.access_log.entry(&reply.case)
    }

    /// Asserts that `reply` is the refusal `code`, said in every place where it is to be said, and
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

/// One HTTP/1.1 connection to a door.
pub struct Line {
    connection: http1::Connection<std::net::TcpStream>,
}

impl Line {
    /// Sends `ask` and reads the answer.
    pub fn send(&mut self, ask: &Ask) -> Reply {
        seen(self.connection.exchange(&Ask::case(), ask))
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

/// An empty directory below `target/gates`, named after the module of tests. It stays after the run, with
/// Envoy's log for whoever wonders, until the next.
pub(crate) fn directory() -> PathBuf {
    static NEXT: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());
    let name = tests_module();
    let number = {
        let mut next = NEXT.lock().unwrap();
        let next = next.entry(name.clone()).or_default();
        *next += 1;
        *next - 1
    };
    let directory = root().join(format!("target/gates/{name}-{number}"));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// The module of the test that this thread runs, such as `remote_keys`: the runner names the thread by the
/// test. Otherwise the name of the binary.
pub(crate) fn tests_module() -> String {
    let thread = std::thread::current();
    if let Some((module, _)) = thread.name().and_then(|name| name.split_once("::")) {
        return module.to_owned();
    }
    let file = std::env::current_exe().unwrap();
    let stem = file.file_stem().unwrap().to_str().unwrap();
    stem.rsplit_once('-').map_or(stem, |(name, _hash)| name).to_owned()
}

/// The built filter: `USHER_WASM`, or what `make wasm` has put below `target`.
///
/// # Panics
/// When it is missing.
pub fn module() -> PathBuf {
    find("USHER_WASM", "target/usher.wasm", "make wasm")
}

/// The filter that faults on demand: `USHER_WASM_FAULT`, or what `make wasm-fault` has put below
/// `target`. Where it is absent, the caller's test is skipped, see [`skip`](crate::skip()).
#[track_caller]
pub fn faulty_module() -> Option<PathBuf> {
    let path = std::env::var_os("USHER_WASM_FAULT")
        .map_or_else(|| root().join("target/usher-fault.wasm"), PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    skip("usher-fault.wasm", &format!("no {}: `make wasm-fault` makes it", path.display()));
    None
}

/// The file that `variable` names, or `default` below the repository's root.
///
/// # Panics
/// When there is none; the message says what makes it.
fn find(variable: &str, default: &str, target: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(|| root().join(default), PathBuf::from);
    assert!(
        path.is_file(),
        "{} is missing: `{target}` makes it, {variable} overrides it",
        path.display()
    );
    path
}

/// The Envoy that Usher is developed with: `ENVOY`, or what `make envoy` has put below `target`.
///
/// # Panics
/// When it is missing.
pub fn pinned_envoy() -> PathBuf {
    find("ENVOY", "target/envoy/bin/envoy", "make envoy")
}

/// The oldest Envoy that Usher supports, 1.36: `ENVOY_OLDEST`, or what `make envoy-oldest` has put
/// below `target`. Where it is absent, the caller's test is skipped, see [`skip`](crate::skip()).
#[track_caller]
pub fn oldest_envoy() -> Option<PathBuf> {
    let path = std::env::var_os("ENVOY_OLDEST")
        .map_or_else(|| root().join("target/envoy-1.36/bin/envoy"), PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    skip("Envoy 1.36", &format!("no {}: `make envoy-oldest` gets it", path.display()));
    None
}

/// The `usher` command, built beside the test that runs.
///
/// # Panics
/// When it does not build.
pub fn command() -> &'static Path {
    static COMMAND: LazyLock<PathBuf> = LazyLock::new(|| {
        let mut cargo = Command::new(env!("CARGO"));
        // Some dependencies are built anew where these change, and once more when they change back.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&*name);
            }
        }
        // As the tests of the workspace are built: for the command alone, dependencies have other features.
        let built = cargo
            .args(["test", "--quiet", "--workspace", "--no-run", "--test", "command"])
            .current_dir(root())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(built.success(), "the usher command does not build");
        let test = std::env::current_exe().unwrap();
        test.parent().unwrap().parent().unwrap().join("usher")
    });
    &COMMAND
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is below the root")
}
