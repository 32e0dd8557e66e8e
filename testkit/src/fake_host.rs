//! A proxy that the filter cannot tell from Envoy, as a value: what it holds, what it lets pass, what fails and when is a
//! test's to say.
//!
//! [`Proxy`] has one worker's VM, and calls it as Envoy does. What a callback asks for (an answer, going on) it does when
//! the callback has returned, and an answered or reset stream is deleted, which enters the VM again.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use usher::host::{HeaderLines, HeaderMap, Host, LogLevel, SharedDataWrite};
use usher::stage::{HeadersStatus, TrailersStatus};
use usher::vm::Vm;
use usher_core::observe::metrics::family::Kind;

use usher_core::reply::Reply;
use usher_core::time::{Millis, UnixMillis};

/// What the workers of a process share.
pub type SharedData = Rc<RefCell<HashMap<String, (Vec<u8>, u32)>>>;

/// A worker of the proxy: a VM, and the host that it knows.
pub struct Proxy {
    /// The host.
    pub host: FakeHost,
    vm: Rc<Vm<FakeHost>>,
    next: Cell<u32>,
}

/// The host as the filter sees it. Clones are the same.
#[derive(Clone, Default)]
pub struct FakeHost(Rc<State>);

/// Called at each call to the host, with the call's name and how many came before it; whether this one fails.
type Hook = Rc<dyn Fn(&'static str, usize) -> bool>;

#[derive(Default)]
struct State {
    now: Cell<Millis>,
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
    /// The periods of timers in milliseconds. Envoy keeps that of a context that is gone, until it is set to 0.
    timers: RefCell<BTreeMap<u32, u32>>,
    calls: RefCell<Vec<Call>>,
    responding: RefCell<Option<(HeaderLines, Vec<u8>)>>,
    metrics: RefCell<Vec<(String, i64)>>,
    log: RefCell<Vec<(LogLevel, String)>>,
    debug: Cell<bool>,
    made: Cell<usize>,
    hook: RefCell<Option<Hook>>,
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
    root: u32,
    /// The headers as its client sent them.
    pub sent: HeaderLines,
    headers: HeaderLines,
    trailers: HeaderLines,
    properties: BTreeMap<String, String>,
    /// What came and is held: the filter has not let the headers go on.
    held: bool,
    /// The VM was told of its end.
    gone: bool,
    came: Came,
    asked: Asked,
    /// What the service got.
    pub service: Service,
    /// The answer, if the filter gave one.
    pub reply: Option<Reply>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Came {
    headers: bool,
    body: bool,
    trailers: bool,
}

/// What a callback asked for, to be done when it has returned.
#[derive(Clone, Debug, Default)]
struct Asked {
    go_on: bool,
    reply: Option<Reply>,
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

impl Proxy {
    /// A worker at this time, which shares `shared` with the others.
    pub fn new(now: Millis, shared: &SharedData) -> Self {
        let host = FakeHost::default();
        host.0.now.set(now);
        host.0.random.set(now);
        host.0.shared.replace(Rc::clone(shared));
        let vm = Rc::new(Vm::new(host.clone()));
        Self { host, vm, next: Cell::new(1) }
    }

    /// The VM, for a host that enters it again.
    pub fn vm(&self) -> Rc<Vm<FakeHost>> {
        Rc::clone(&self.vm)
    }

    /// A plugin begins with this configuration; its root context, and what the VM says of it.
    pub fn configure(&self, plugin: &str, configuration: &str) -> (u32, bool) {
        let root = self.number();
        self.host.0.roots.borrow_mut().insert(root, plugin.to_owned());
        self.host.0.configuration.replace(configuration.as_bytes().to_vec());
        self.host.enter(root);
        self.vm.on_context_create(root, 0);
        let loaded = self.vm.on_configure(root);
        self.host.leave();
        (root, loaded)
    }

    /// A request of this plugin begins, which will have these headers and trailers.
    pub fn begin(&self, root: u32, headers: &[(&str, &str)], trailers: &[(&str, &str)]) -> u32 {
        let id = self.number();
        let (headers, trailers) = (lines(headers), lines(trailers));
        let sent = headers.clone();
        let stream = Stream { root, sent, headers, trailers, held: true, ..Stream::default() };
        self.host.0.streams.borrow_mut().insert(id, stream);
        self.host.enter(id);
        self.vm.on_context_create(id, root);
        self.host.leave();
        id
    }

    /// A request that is all headers. What became of it so far.
    pub fn get(&self, root: u32, headers: &[(&str, &str)]) -> u32 {
        let id = self.begin(root, headers, &[]);
        self.headers(id, true);
        id
    }

    /// Its headers come, if they did not before.
    pub fn headers(&self, id: u32, end_of_stream: bool) {
        let mut again = false;
        let known = self.host.stream(id, |s| again = std::mem::replace(&mut s.came.headers, true));
        if !known || again {
            return;
        }
        self.host.enter(id);
        let status = self.vm.on_request_headers(id, end_of_stream);
        self.host.leave();
        self.host.stream(id, |stream| {
            stream.asked.go_on |= status == HeadersStatus::Continue && stream.reply.is_none();
        });
        self.settle();
    }

    /// Some of its body comes: the filter does not see it.
    pub fn body(&self, id: u32) {
        self.host.stream(id, |stream| {
            stream.came.body = true;
            stream.service.body |= !stream.held && stream.reply.is_none();
        });
    }

    /// Its trailers come: the filter sees them when its headers have gone on.
    pub fn trailers(&self, id: u32) {
        let mut shown = false;
        self.host.stream(id, |stream| {
            stream.came.trailers = true;
            shown = !stream.held;
        });
        if shown {
            self.show_trailers(id);
        }
    }

    /// As a host that has lost its order might: whatever came before.
    pub fn show_trailers(&self, id: u32) {
        if !self.host.stream(id, |stream| stream.came.trailers = true) {
            return;
        }
        self.host.enter(id);
        let status = self.vm.on_request_trailers(id);
        self.host.leave();
        self.host.stream(id, |stream| {
            let goes_on = status == TrailersStatus::Continue && !stream.held;
            if goes_on && stream.reply.is_none() && stream.asked.reply.is_none() {
                stream.service.trailers.get_or_insert(stream.trailers.clone());
            }
        });
        self.settle();
    }

    /// Its client goes.
    pub fn reset(&self, id: u32) {
        if self.host.stream(id, |stream| stream.gone = true) {
            self.vm.on_delete(id);
            self.settle();
        }
    }

    /// A plugin ends.
    pub fn end(&self, root: u32) {
        self.host.enter(root);
        self.vm.on_delete(root);
        self.host.leave();
        self.host.forget(root);
        self.settle();
    }

    /// Time passes, without a tick.
    pub fn pass(&self, time: Duration) {
        let now = self.host.0.now.get() + u64::try_from(time.as_millis()).unwrap();
        self.host.0.now.set(now);
    }

    /// The plugin's timer ticks, if it is set.
    pub fn tick(&self, root: u32) {
        let period = self.host.period(root);
        if period > 0 {
            self.pass(Duration::from_millis(period.into()));
            self.host.enter(root);
            self.vm.on_tick(root);
            self.host.leave();
            self.settle();
        }
    }

    /// The calls that wait for a response.
    pub fn calls(&self) -> Vec<Call> {
        self.host.0.calls.borrow().clone()
    }

    /// The oldest call is answered so; `None`: it has failed. Returns whether there was one.
    pub fn respond(&self, response: Option<(u16, &str)>) -> bool {
        if self.host.0.calls.borrow().is_empty() {
            return false;
        }
        let call = self.host.0.calls.borrow_mut().remove(0);
        let response =
            response.map(|(status, body)| (lines(&[(":status", &status.to_string())]), body));
        let headers = response.as_ref().map_or(0, |(headers, _)| headers.len());
        let size = response.as_ref().map_or(0, |(_, body)| body.len());
        let response = response.map(|(headers, body)| (headers, body.as_bytes().to_vec()));
        self.host.0.responding.replace(response);
        self.host.enter(call.root);
        self.vm.on_http_call_response(call.root, call.number, headers, size);
        self.host.leave();
        self.host.0.responding.replace(None);
        self.settle();
        true
    }

    /// What became of a request; what was last known of one that is gone.
    pub fn stream(&self, id: u32) -> Option<Stream> {
        self.host.0.streams.borrow().get(&id).cloned()
    }

    /// A request ends, and nothing is known of it any more.
    pub fn finish(&self, id: u32) {
        self.reset(id);
        self.host.0.streams.borrow_mut().remove(&id);
    }

    /// Its status for the client: of the answer, or 200 where its headers went on; `None` while it is held.
    pub fn status(&self, id: u32) -> Option<u16> {
        let stream = self.stream(id)?;
        let reply = stream.reply.map(|reply| reply.status);
        reply.or(stream.service.headers.map(|_| 200))
    }

    /// Does what callbacks have asked for. Each may enter the VM again.
    fn settle(&self) {
        loop {
            let asked = self.host.0.streams.borrow_mut().iter_mut().find_map(|(id, stream)| {
                if stream.gone {
                    return None;
                }
                let asked = std::mem::take(&mut stream.asked);
                (asked.go_on || asked.reply.is_some()).then_some((*id, asked))
            });
            let Some((id, asked)) = asked else { return };
            let (mut trailers, mut answered) = (false, false);
            self.host.stream(id, |stream| match asked.reply {
                Some(reply) => {
                    stream.reply = Some(reply);
                    answered = true;
                }
                None if stream.reply.is_none() && stream.held && stream.came.headers => {
                    stream.held = false;
                    stream.service.headers = Some(stream.headers.clone());
                    stream.service.body |= stream.came.body;
                    trailers = stream.came.trailers;
                }
                None => {}
            });
            if answered {
                self.reset(id);
            }
            if trailers {
                self.show_trailers(id);
            }
        }
    }

    fn number(&self) -> u32 {
        self.next.replace(self.next.get() + 1)
    }
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
    /// Has each further call to the host go through `hook`; the count begins anew.
    pub fn hook(&self, hook: impl Fn(&'static str, usize) -> bool + 'static) {
        self.0.made.set(0);
        self.0.hook.replace(Some(Rc::new(hook)));
    }

    /// How many calls were made since the last hook was set.
    pub fn made(&self) -> usize {
        self.0.made.get()
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

    /// What a stat stands at; `None` where there is none whose name has all of these parts.
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
        self.0.timers.borrow().get(&root).copied().unwrap_or_default()
    }

    /// Runs a callback of another context within the one that runs.
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

    fn enter(&self, context: u32) {
        self.0.running.set(context);
        self.0.effective.set(context);
    }

    fn leave(&self) {
        self.enter(0);
    }

    fn stream(&self, id: u32, with: impl FnOnce(&mut Stream)) -> bool {
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
        self.fails("random");
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

    fn set_tick_period(&self, period: u32) {
        if !self.fails("set_tick_period") {
            self.0.timers.borrow_mut().insert(self.root(), period);
        }
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
        self.fails("clear_route_cache");
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

    fn call_foreign_function(&self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
        // As a host without Envoy's own functions.
        self.fails("call_foreign_function");
        None
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
            self.stream(self.0.effective.get(), |stream| stream.asked.go_on = true);
        }
    }

    fn send_local_reply(&self, reply: &Reply) {
        if !self.fails("send_local_reply") {
            self.stream(self.0.effective.get(), |stream| {
                stream.asked.reply.get_or_insert(reply.clone());
            });
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
