//! Rounds: in each, each variant gets the same requests, one variant after the other, and each round begins
//! with another one. What disturbs the machine disturbs all of a round, so ratios are taken within rounds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Runtime;

use crate::envoy;
use crate::load::{self, Connection};
use crate::stats::{Spread, quantile};
use crate::variants::{self, IDENTITY};
use crate::work::Workload;

/// Rounds' worth of requests ahead of the first round.
const WARM_UP: usize = 3;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// For each variant and round.
    pub(crate) requests: usize,
}

/// What a variant cost.
pub(crate) struct Cost {
    pub(crate) variant: String,
    /// CPU microseconds of the Envoy process for a request, round by round.
    pub(crate) cpu: Vec<f64>,
    /// Microseconds from request to response, of all rounds, sorted.
    pub(crate) latency: Vec<f64>,
}

/// A comparison's outcome.
pub(crate) struct Ratio {
    pub(crate) variant: String,
    pub(crate) to: String,
    pub(crate) goal: Option<f64>,
    pub(crate) spread: Spread,
}

/// A workload's outcome.
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) costs: Vec<Cost>,
    pub(crate) ratios: Vec<Ratio>,
}

impl Cost {
    pub(crate) fn percentile(&self, at: f64) -> f64 {
        quantile(&self.latency, at)
    }
}

impl Outcome {
    /// What a variant costs above the empty chain, round by round.
    pub(crate) fn above_empty(&self, variant: &str) -> Result<Vec<f64>> {
        let empty = self.costs.first().context("the empty chain")?;
        let cost =
            self.costs.iter().find(|cost| cost.variant == variant).context(variant.to_owned())?;
        Ok(cost.cpu.iter().zip(&empty.cpu).map(|(cost, empty)| cost - empty).collect())
    }
}

/// Runs a workload in an Envoy of its own.
pub(crate) fn measure(
    mut work: Workload,
    effort: Effort,
    binary: &Path,
    directory: &Path,
    runtime: &Runtime,
) -> Result<Outcome> {
    let logged: Vec<bool> = work.tracks.iter().map(|track| track.logged).collect();
    let (tracks, variants): (Vec<_>, Vec<_>) = work
        .tracks
        .into_iter()
        .map(|t| ((t.variant.name.clone(), t.status, t.one_in, t.variant.emits), t.variant))
        .unzip();
    let (bootstrap, addresses) = variants::bootstrap(&variants)?;
    let process = envoy::start(binary, &bootstrap, directory, &addresses, 1)?;
    let mut costs: Vec<Cost> = tracks
        .iter()
        .map(|(name, ..)| Cost { variant: name.clone(), cpu: Vec::new(), latency: Vec::new() })
        .collect();

    // Without the clock first: caches, code that V8 compiles better once it is hot, and whether all is as
    // expected.
    let requests = (work.feed)(effort.requests);
    for ((name, status, one_in, emits), address) in tracks.iter().zip(&addresses) {
        let count = (effort.requests * WARM_UP / one_in).max(4);
        runtime
            .block_on(load::run(*address, &requests, count, *status))
            .with_context(|| name.clone())?;
        runtime
            .block_on(check_identity(*address, &requests[0], *status, *emits))
            .with_context(|| name.clone())?;
    }

    for round in 0..effort.rounds {
        let requests = (work.feed)(effort.requests);
        for turn in 0..tracks.len() {
            let index = (turn + round) % tracks.len();
            let ((_, status, one_in, _), address) = (&tracks[index], addresses[index]);
            let count = effort.requests / one_in;
            let before = process.cpu()?;
            let times = runtime.block_on(load::run(address, &requests, count, *status))?;
            let spent = process.cpu()?.saturating_sub(before);
            let cost = &mut costs[index];
            cost.cpu.push(micros(spent) / count as f64);
            cost.latency.extend(times.into_iter().map(micros));
        }
    }
    for (cost, logged) in costs.iter_mut().zip(logged) {
        cost.latency.sort_by(f64::total_cmp);
        let decisions = envoy::decisions(&process, &cost.variant);
        let expected = if logged { cost.latency.len() } else { 0 };
        let right = decisions >= expected && logged == (decisions > 0);
        ensure!(right, "{}: {decisions} lines in the log, for {expected} requests", cost.variant);
    }

    let mut outcome = Outcome { name: work.name, about: work.about, costs, ratios: Vec::new() };
    for compare in work.compare {
        let (cost, other) =
            (outcome.above_empty(&compare.variant)?, outcome.above_empty(&compare.to)?);
        let ratios: Vec<f64> = cost.iter().zip(&other).map(|(cost, other)| cost / other).collect();
        let spread = Spread::of(&ratios);
        let (variant, to, goal) = (compare.variant, compare.to, compare.goal);
        outcome.ratios.push(Ratio { variant, to, goal, spread });
    }
    Ok(outcome)
}

/// A variant that lets a token pass must have handed its payload to the service; one without a filter, or
/// without a token, must have handed over nothing.
async fn check_identity(
    address: SocketAddr,
    request: &[u8],
    status: u16,
    emits: bool,
) -> Result<()> {
    let text = String::from_utf8_lossy(request).replace("\r\n\r\n", "\r\nx-show: 1\r\n\r\n");
    let (got, head) = Connection::open(address).await?.send(text.as_bytes()).await?;
    ensure!(got == status, "expected status {status}, found {got}");
    let token = text.split_once("Bearer ").and_then(|(_, rest)| rest.split("\r\n").next());
    let payload = token.and_then(|token| token.split('.').nth(1));
    let expected = payload.filter(|_| status == 200 && emits);
    let shown = head.lines().find_map(|line| line.strip_prefix("x-identity: "));
    let shown =
        shown.filter(|text| !text.is_empty() && *text != "-" && (emits || !is_filler(text)));
    ensure!(shown == expected, "expected {IDENTITY} {expected:?}, found {shown:?}");
    Ok(())
}

/// What the minimal filter sets.
fn is_filler(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'a')
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// What an Envoy with Usher takes beside its time for requests.
pub(crate) struct Footprint {
    pub(crate) module_bytes: u64,
    /// Milliseconds by which a start takes longer with Usher than without: wall clock, and CPU.
    pub(crate) load_wall: Spread,
    pub(crate) load_cpu: Spread,
    /// KiB of resident memory, by what was done before: medians of the starts.
    pub(crate) resident: BTreeMap<&'static str, f64>,
    /// The same of each further worker.
    pub(crate) worker: BTreeMap<&'static str, f64>,
}

/// What was done before the memory was looked at.
pub(crate) const WITHOUT: &str = "no filter";
pub(crate) const MINIMAL: &str = "a wasm filter that decides nothing";
pub(crate) const EMPTY: &str = "Usher, cache empty";
pub(crate) const FULL: &str = "Usher, 1024 tokens of 1 KiB cached";

/// Starts Envoy without and with Usher some times, and fills the caches of the last.
pub(crate) fn footprint(
    module: &Path,
    minimal: &Path,
    binary: &Path,
    directory: &Path,
    starts: usize,
    runtime: &Runtime,
) -> Result<Footprint> {
    const TOKENS: usize = 1024;
    let (rules, requests) = crate::work::filling(1024, TOKENS)?;
    let requests = std::sync::Arc::new(requests);
    let plain = || vec![variants::Variant::none()];
    let empty = variants::Variant::minimal("minimal", minimal)?;
    let guarded =
        || vec![variants::Variant::usher("usher", module, &rules, &serde_json::Value::Null)];
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    let mut resident: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for _ in 0..starts {
        let mut times = Vec::new();
        for (what, variants) in
            [(WITHOUT, plain()), (MINIMAL, vec![empty.clone()]), (EMPTY, guarded())]
        {
            let (bootstrap, addresses) = variants::bootstrap(&variants)?;
            let process = envoy::start(binary, &bootstrap, directory, &addresses, 1)?;
            times.push((micros(process.start_time()) / 1000.0, micros(process.cpu()?) / 1000.0));
            // One request, so that all that is made at the first one is there.
            runtime.block_on(load::run(addresses[0], &requests, 1, 200))?;
            resident.entry(what).or_default().push(process.resident()? as f64);
            if what == EMPTY {
                runtime.block_on(load::run(addresses[0], &requests, TOKENS, 200))?;
                let full = process.resident()? as f64;
                resident.entry(FULL).or_default().push(full);
            }
        }
        if let [without, _, with] = times[..] {
            wall.push(with.0 - without.0);
            cpu.push(with.1 - without.1);
        }
    }
    // Compiled code is shared by all workers.
    const WORKERS: usize = 5;
    let mut worker = BTreeMap::new();
    for (what, variants) in [(WITHOUT, plain()), (MINIMAL, vec![empty]), (FULL, guarded())] {
        let mut sizes = Vec::new();
        for workers in [1, WORKERS] {
            let (bootstrap, addresses) = variants::bootstrap(&variants)?;
            let process = envoy::start(binary, &bootstrap, directory, &addresses, workers)?;
            // The kernel deals out the connections: often enough, and each worker has seen each token.
            for _ in 0..5 * workers {
                runtime.block_on(load::run(addresses[0], &requests, TOKENS, 200))?;
            }
            sizes.push(process.resident()? as f64);
        }
        worker.insert(what, (sizes[1] - sizes[0]) / (WORKERS - 1) as f64);
    }
    Ok(Footprint {
        worker,
        module_bytes: std::fs::metadata(module)?.len(),
        load_wall: Spread::of(&wall),
        load_cpu: Spread::of(&cpu),
        resident: resident.into_iter().map(|(what, kib)| (what, Spread::of(&kib).median)).collect(),
    })
}
