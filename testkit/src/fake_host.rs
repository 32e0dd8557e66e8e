//! A host that behaves as Envoy's, as a value: a test decides what it holds, and what fails when.
//! [`crate::fake_proxy`] calls the filter.
//!
//! What a callback asks for (a reply, going on) is queued, as Envoy does it, until the callback has returned.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use usher::host::{HeaderLines, HeaderMap, Host, LogLevel, SharedDataWrite};
use usher_core::observe::metrics::family::Kind;

use usher_core::reply::Reply;
use usher_core::time::{Millis, UnixMillis};

/// What the workers of a process share.
pub type SharedData = Rc<RefCell<HashMap<String, (Vec<u8>, u32)>>>;

/// The host as the filter sees it. Clones are the same.
#[derive(Clone, Default)]
pub struct FakeHost(Rc<State>);

/// Called at each call to the host, with the call's name and how many came before it; whether this one fails.
type Hook = Rc<dyn Fn(&'static str, usize) -> bool>;

/// A function of the host's own: its answer to arguments, `None` where it fails.
type Function = Rc<dyn Fn(&[u8]) -> Option<Vec<u8>>>;

#[derive(Default)]
struct State {
    now: Cell<Millis>,
    /// The clock of timers: it never goes back.
    steady: Cell<Millis>,
    random: Cell<u64>,
    shared: RefCell<SharedData>,
    properties: RefCell<HashMap<String, Vec<u8>>>,
    configuration: RefCell<Vec<u8>>,
    /// The context whose callback runs, and the one that calls are about.
    running: Cell<u32>,
    effective: Cell<u32>,
    streams: RefCell<BTreeMap<u32, Stream>>,
    /// The name of each plugin, by its root context.
    roots: RefCell<BTreeMap<u32, String>>,
    /// Of root contexts. Envoy keeps that of a context that is gone, until its period is set to 0.
    timers: RefCell<BTreeMap<u32, Timer>>,
    calls: RefCell<Vec<Call>>,
    functions: RefCell<HashMap<String, Function>>,
    actions: RefCell<VecDeque<(u32, Action)>>,
    responding: RefCell<Option<(HeaderLines, Vec<u8>)>>,
    metrics: RefCell<Vec<(String, i64)>>,
    log: RefCell<Vec<(LogLevel, String)>>,
    debug: Cell<bool>,
    made: Cell<usize>,
    hook: RefCell<Option<Hook>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Timer {
    /// In milliseconds; 0: it does not tick.
    period: u32,
    /// When it ticks next, by the steady clock.
    due: Millis,
}

/// What a callback asked for, to be done when it has returned.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Continue,
    Reply(Reply),
}

/// An HTTP call that waits for its response.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number.
    pub number: u32,
    /// The root context that made it.
    pub root: u32,
    /// Where to.
    pub cluster: String,
    /// Its `:path`.
    pub path: String,
}

/// A request on its way through the proxy.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    pub(crate) root: u32,
    /// The headers as its client sent them.
    pub sent: HeaderLines,
    pub(crate) headers: HeaderLines,
    pub(crate) trailers: HeaderLines,
    pub(crate) properties: BTreeMap<String, String>,
    /// The filter has not let the headers go on: what came is held.
    pub(crate) held: bool,
    /// It has ended, and the VM knows.
    pub(crate) gone: bool,
    pub(crate) came: Came,
    /// How often the filter had its route chosen again.
    pub rerouted: usize,
    /// What the service got.
    pub service: Service,
    /// The answer, if the filter gave one.
    pub reply: Option<Reply>,
}

/// What of a request came from its client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Came {
    pub(crate) headers: bool,
    pub(crate) body: bool,
    pub(crate) trailers: bool,
}

/// What the service got of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// The headers as they were when they went on.
    pub headers: Option<HeaderLines>,
    /// Whether any of the body came.
    pub body: bool,
    /// The trailers as they were when they went on.
    pub trailers: Option<HeaderLines>,
}

impl Stream {
    /// The lines of a header that the service got.
    pub fn got(&self, name: &str) -> Vec<String> {
        let lines = self.service.headers.iter().chain(&self.service.trailers).flatten();
        let of_name = lines.filter(|(line, _)| line == name.as_bytes());
        of_name.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// Its headers as they are now, which is what access logs see.
    pub fn headers(&self) -> HeaderLines {
        self.headers.clone()
    }

    /// Whether anything of it came to the service.
    pub fn reached_service(&self) -> bool {
        self.service != Service::default()
    }

    /// What the filter left for access logs.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }
}

impl FakeHost {
    /// One at this time, which shares `shared` with others.
    pub(crate) fn new(now: Millis, shared: &SharedData) -> Self {
        let host = Self::default();
        host.0.now.set(now);
        host.0.random.set(now);
        host.0.shared.replace(Rc::clone(shared));
        host
    }

    /// Has each further call to the host go through `hook`; the count starts again.
    pub fn hook(&self, hook: impl Fn(&'static str, usize) -> bool + 'static) {
        self.0.made.set(0);
        self.0.hook.replace(Some(Rc::new(hook)));
    }

    /// How many calls were made since the last hook was set.
    pub fn made(&self) -> usize {
        self.0.made.get()
    }

    /// Gives the host a function of its own, such as Envoy's `verify_signature`. It has none at first.
    pub fn set_function(&self, name: &str, f: impl Fn(&[u8]) -> Option<Vec<u8>> + 'static) {
        self.0.functions.borrow_mut().insert(name.to_owned(), Rc::new(f));
    }

    /// Sets a property, as `a.b`, of every request and plugin.
    pub fn set(&self, path: &str, value: &[u8]) {
        self.0.properties.borrow_mut().insert(path.to_owned(), value.to_vec());
    }

    /// The clock, in milliseconds since 1970.
    pub fn now(&self) -> Millis {
        self.0.now.get()
    }

    /// Sets the clock, in milliseconds since 1970.
    pub fn set_now(&self, now: Millis) {
        self.0.now.set(now);
    }

    /// Whether the host writes debug lines.
    pub fn set_debug(&self, debug: bool) {
        self.0.debug.set(debug);
    }

    /// The sum of the stats whose names have all of these parts; `None` if there are none.
    pub fn metric(&self, parts: &[&str]) -> Option<i64> {
        let metrics = self.0.metrics.borrow();
        let named = metrics.iter().filter(|(name, _)| parts.iter().all(|part| name.contains(part)));
        named.map(|(_, value)| *value).reduce(|a, b| a + b)
    }

    /// The names of all stats, each with where it stands.
    pub fn metrics(&self) -> Vec<(String, i64)> {
        self.0.metrics.borrow().clone()
    }

    /// The lines of the log so far.
    pub fn logged(&self) -> Vec<String> {
        self.0.log.borrow().iter().map(|(_, line)| line.clone()).collect()
    }

    /// The period of a plugin's timer in milliseconds; 0: it does not tick.
    pub fn period(&self, root: u32) -> u32 {
        self.timer(root).period
    }

    /// In how many milliseconds a plugin's timer ticks next; `None`: it does not.
    pub fn next_tick(&self, root: u32) -> Option<Millis> {
        let timer = self.timer(root);
        (timer.period > 0).then(|| timer.due.saturating_sub(self.0.steady.get()))
    }

    /// Time passes.
    pub(crate) fn pass(&self, time: Millis) {
        self.0.now.set(self.0.now.get() + time);
        self.0.steady.set(self.0.steady.get() + time);
    }

    fn timer(&self, root: u32) -> Timer {
        self.0.timers.borrow().get(&root).copied().unwrap_or_default()
    }

    /// Winds a plugin's timer up again, if it ticks.
    pub(crate) fn wind_up(&self, root: u32) {
        if let Some(timer) = self.0.timers.borrow_mut().get_mut(&root) {
            timer.due = self.0.steady.get() + Millis::from(timer.period);
        }
    }

    /// Runs a callback of another context within the current one.
    pub fn run_in(&self, context: u32, callback: impl FnOnce()) {
        let (running, effective) = (self.0.running.get(), self.0.effective.get());
        self.enter(context);
        callback();
        self.0.running.set(running);
        self.0.effective.set(effective);
    }

    /// Counts every version of the shared data up, as if another worker had written.
    pub fn touch_shared_data(&self) {
        let shared = self.0.shared.borrow();
        let mut shared = shared.borrow_mut();
        shared.values_mut().for_each(|(_, version)| *version += 1);
    }

    /// The stream or plugin is gone: calls about it fail from now on, and its HTTP calls have no response.
    pub fn forget(&self, id: u32) {
        self.stream(id, |stream| stream.gone = true);
        self.0.roots.borrow_mut().remove(&id);
        self.0.calls.borrow_mut().retain(|call| call.root != id);
    }

    pub(crate) fn add_root(&self, root: u32, plugin: &str, configuration: &str) {
        self.0.roots.borrow_mut().insert(root, plugin.to_owned());
        self.0.configuration.replace(configuration.as_bytes().to_vec());
    }

    pub(crate) fn add_stream(&self, id: u32, stream: Stream) {
        self.0.streams.borrow_mut().insert(id, stream);
    }

    pub(crate) fn remove_stream(&self, id: u32) {
        self.0.streams.borrow_mut().remove(&id);
    }

    /// A stream, also one that is gone.
    pub(crate) fn known_stream(&self, id: u32) -> Option<Stream> {
        self.0.streams.borrow().get(&id).cloned()
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.calls.borrow().clone()
    }

    /// Takes the oldest call.
    pub(crate) fn take_call(&self) -> Option<Call> {
        let mut calls = self.0.calls.borrow_mut();
        (!calls.is_empty()).then(|| calls.remove(0))
    }

    /// The response to a call while it is handed over.
    pub(crate) fn set_response(&self, response: Option<(HeaderLines, Vec<u8>)>) {
        self.0.responding.replace(response);
    }

    /// Takes what was asked for first, of what is left.
    pub(crate) fn take_action(&self) -> Option<(u32, Action)> {
        self.0.actions.borrow_mut().pop_front()
    }

    /// Queues an action of the stream that calls are about.
    fn queue(&self, action: Action) {
        let id = self.0.effective.get();
        if self.stream(id, |_| ()) {
            self.0.actions.borrow_mut().push_back((id, action));
        }
    }

    pub(crate) fn enter(&self, context: u32) {
        self.0.running.set(context);
        self.0.effective.set(context);
    }

    pub(crate) fn leave(&self) {
        self.enter(0);
    }

    /// Does something with a stream; whether there is one that is not gone.
    pub(crate) fn stream(&self, id: u32, with: impl FnOnce(&mut Stream)) -> bool {
        let mut streams = self.0.streams.borrow_mut();
        let stream = streams.get_mut(&id).filter(|stream| !stream.gone);
        stream.map(with).is_some()
    }

    /// A call to the host; whether it fails.
    fn fails(&self, name: &'static str) -> bool {
        let before = self.0.made.replace(self.0.made.get() + 1);
        // Not borrowed while it runs: it may enter the VM, which calls the host.
        let hook = self.0.hook.borrow().clone();
        hook.is_some_and(|hook| hook(name, before))
    }

    fn map<T>(&self, map: HeaderMap, with: impl FnOnce(&mut HeaderLines) -> T) -> Option<T> {
        let mut streams = self.0.streams.borrow_mut();
        let stream = streams.get_mut(&self.0.effective.get()).filter(|stream| !stream.gone);
        match map {
            HeaderMap::RequestHeaders => stream.map(|stream| with(&mut stream.headers)),
            HeaderMap::RequestTrailers => stream.map(|stream| with(&mut stream.trailers)),
            HeaderMap::CallResponseHeaders => {
                self.0.responding.borrow_mut().as_mut().map(|(headers, _)| with(headers))
            }
        }
    }

    /// The plugin that calls are about.
    fn root(&self) -> u32 {
        let id = self.0.effective.get();
        self.0.streams.borrow().get(&id).map_or(id, |stream| stream.root)
    }
}

impl Host for FakeHost {
    fn unix_millis(&self) -> UnixMillis {
        UnixMillis(if self.fails("unix_millis") { 0 } else { self.0.now.get() })
    }

    fn random(&self) -> u64 {
        if self.fails("random") {
            return 0;
        }
        // Knuth's multiplier: another number each time, and the same in each run.
        let next = self.0.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0.random.set(next);
        next
    }

    fn random_bytes(&self, bytes: &mut [u8]) -> bool {
        bytes.fill(7);
        !self.fails("random_bytes")
    }

    fn plugin_configuration(&self) -> Vec<u8> {
        if self.fails("plugin_configuration") {
            return Vec::new();
        }
        self.0.configuration.borrow().clone()
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        if self.fails("property") {
            return None;
        }
        if path == ["plugin_name"] || path == ["plugin_root_id"] {
            return Some(self.0.roots.borrow().get(&self.root())?.clone().into_bytes());
        }
        self.0.properties.borrow().get(&path.join(".")).cloned()
    }

    fn set_property(&self, name: &str, value: &str) {
        if !self.fails("set_property") {
            self.stream(self.0.effective.get(), |stream| {
                stream.properties.insert(name.to_owned(), value.to_owned());
            });
        }
    }

    fn shared_data(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        if self.fails("shared_data") {
            return None;
        }
        self.0.shared.borrow().borrow().get(key).cloned()
    }

    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> SharedDataWrite {
        if self.fails("set_shared_data") {
            return SharedDataWrite::Failed;
        }
        let shared = self.0.shared.borrow();
        let mut shared = shared.borrow_mut();
        let known = shared.get(key).map(|(_, version)| *version);
        if known.is_some_and(|known| version != 0 && version != known) {
            return SharedDataWrite::CasMismatch;
        }
        shared.insert(key.to_owned(), (value.to_vec(), known.unwrap_or_default() + 1));
        SharedDataWrite::Done
    }

    fn set_tick_period(&self, period: u32) -> bool {
        if self.fails("set_tick_period") {
            return false;
        }
        let root = self.root();
        // The same period again starts it over too: Envoy's timer is enabled again.
        self.0.timers.borrow_mut().insert(root, Timer { period, due: 0 });
        self.wind_up(root);
        true
    }

    fn set_effective_context(&self, context: u32) -> bool {
        if self.fails("set_effective_context") {
            return false;
        }
        let known = self.stream(context, |_| ()) || self.0.roots.borrow().contains_key(&context);
        if known {
            self.0.effective.set(context);
        }
        known
    }

    fn clear_route_cache(&self) {
        // Envoy takes this for the context whose callback runs, not for the one that it acts for.
        if !self.fails("clear_route_cache") {
            self.stream(self.0.running.get(), |stream| stream.rerouted += 1);
        }
    }

    fn http_call(&self, cluster: &str, headers: &[(&str, &str)], _: Duration) -> Option<u32> {
        if self.fails("http_call") {
            return None;
        }
        let number = u32::try_from(self.0.made.get()).unwrap();
        let path = headers.iter().find(|(name, _)| *name == ":path").unwrap().1.to_owned();
        let cluster = cluster.to_owned();
        // Envoy hands the response to the context that the call was about: to a stream's it would be lost.
        let root = self.0.effective.get();
        assert!(!self.0.streams.borrow().contains_key(&root), "an HTTP call in a stream's name");
        self.0.calls.borrow_mut().push(Call { number, root, cluster, path });
        Some(number)
    }

    fn call_body(&self, size: usize) -> Option<Vec<u8>> {
        if self.fails("call_body") {
            return None;
        }
        let responding = self.0.responding.borrow();
        let (_, body) = responding.as_ref()?;
        Some(body.get(..size)?.to_vec())
    }

    fn header_map(&self, map: HeaderMap) -> Option<HeaderLines> {
        if self.fails("header_map") {
            return None;
        }
        // Envoy has an empty map for what is not there.
        Some(self.map(map, |lines| lines.clone()).unwrap_or_default())
    }

    fn recycle(&self, _: HeaderLines) {}

    fn replace_header(&self, map: HeaderMap, name: &[u8], value: &[u8]) -> bool {
        !self.fails("replace_header")
            && self
                .map(map, |lines| {
                    lines.retain(|(line, _)| line != name);
                    lines.push((name.to_vec(), value.to_vec()));
                })
                .is_some()
    }

    fn add_header(&self, map: HeaderMap, name: &[u8], value: &[u8]) -> bool {
        !self.fails("add_header")
            && self.map(map, |lines| lines.push((name.to_vec(), value.to_vec()))).is_some()
    }

    fn remove_header(&self, map: HeaderMap, name: &[u8]) -> bool {
        !self.fails("remove_header")
            && self.map(map, |lines| lines.retain(|(line, _)| line != name)).is_some()
    }

    fn call_foreign_function(&self, name: &str, arguments: &[u8]) -> Option<Vec<u8>> {
        if self.fails("call_foreign_function") {
            return None;
        }
        let function = self.0.functions.borrow().get(name).cloned()?;
        function(arguments)
    }

    fn log(&self, level: LogLevel, line: &str) {
        if !self.fails("log") {
            self.0.log.borrow_mut().push((level, line.to_owned()));
        }
    }

    fn logs(&self, level: LogLevel) -> bool {
        !self.fails("logs") && (level != LogLevel::Debug || self.0.debug.get())
    }

    fn define_metric(&self, _: Kind, name: &str) -> Option<u32> {
        if self.fails("define_metric") {
            return None;
        }
        let mut metrics = self.0.metrics.borrow_mut();
        let known = metrics.iter().position(|(known, _)| known == name);
        let index = known.unwrap_or_else(|| {
            metrics.push((name.to_owned(), 0));
            metrics.len() - 1
        });
        u32::try_from(index).ok()
    }

    fn increment_metric(&self, id: u32, offset: i64) {
        if !self.fails("increment_metric") {
            self.0.metrics.borrow_mut()[usize::try_from(id).unwrap()].1 += offset;
        }
    }

    fn record_metric(&self, id: u32, value: u64) {
        if !self.fails("record_metric") {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            self.0.metrics.borrow_mut()[usize::try_from(id).unwrap()].1 = value;
        }
    }

    fn continue_request(&self) {
        if !self.fails("continue_request") {
            self.queue(Action::Continue);
        }
    }

    fn send_local_reply(&self, reply: &Reply) {
        if !self.fails("send_local_reply") {
            self.queue(Action::Reply(reply.clone()));
        }
    }
}

/// What this thread has logged through the crate `log` since this was called first.
pub fn log_lines() -> Vec<String> {
    struct Log;
    thread_local! {
        static LINES: RefCell<Vec<String>> = RefCell::default();
    }
    impl log::Log for Log {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
        }
        fn flush(&self) {}
    }
    if log::set_logger(&Log).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    LINES.with_borrow(Clone::clone)
}

/// Header lines of texts.
pub fn lines(texts: &[(&str, &str)]) -> HeaderLines {
    texts
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}
