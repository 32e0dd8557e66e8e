//! `make bench`: Usher beside Envoy's native filters, in one Envoy.
//!
//! `USHER_WASM` and `ENVOY` name what is measured. `QUICK=1` takes less time; `ONLY=word,word`
//! measures the workloads with one of these in their names. docs/performance.md explains the method.

mod envoy;
mod load;
mod measure;
mod plot;
mod report;
mod stats;
mod variants;
mod work;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use measure::Effort;

fn main() -> Result<()> {
    let path = |name: &str| -> Result<PathBuf> {
        let path =
            std::env::var_os(name).with_context(|| format!("{name} is not set: `make bench`"))?;
        std::fs::canonicalize(&path).with_context(|| Path::new(&path).display().to_string())
    };
    let (module, binary) = (path("USHER_WASM")?, path("ENVOY")?);
    let quick = std::env::var("QUICK").is_ok_and(|quick| !quick.is_empty() && quick != "0");
    let only = std::env::var("ONLY").unwrap_or_default();
    let effort = if quick {
        Effort { rounds: 9, requests: 400 }
    } else {
        Effort { rounds: 15, requests: 2000 }
    };
    let output = PathBuf::from("target/bench");
    std::fs::create_dir_all(&output)?;
    let minimal = output.canonicalize()?.join("minimal.wasm");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let mut outcomes = Vec::new();
    for (name, work) in work::all(&module, &minimal, quick)? {
        if !only.split(',').any(|word| name.contains(word)) {
            continue;
        }
        eprintln!("bench: {name}");
        let outcome = measure::measure(work, effort, &binary, &output.join("envoy"), &runtime)
            .with_context(|| name.clone())?;
        for ratio in &outcome.ratios {
            eprintln!("bench:   {} / {}: {:.2}", ratio.variant, ratio.to, ratio.spread.median);
        }
        outcomes.push(outcome);
    }
    eprintln!("bench: start and memory");
    let starts = if quick { 3 } else { 7 };
    let footprint =
        measure::footprint(&module, &minimal, &binary, &output.join("envoy"), starts, &runtime)?;

    let machine = machine(effort);
    let json = report::json(&outcomes, &footprint, &machine)?;
    std::fs::write(output.join("report.json"), serde_json::to_string_pretty(&json)? + "\n")?;
    let text = report::markdown(&outcomes, &footprint, &machine)?;
    std::fs::write(output.join("report.md"), &text)?;
    plot::all(&output, &outcomes)?;
    println!("{text}");
    Ok(())
}

/// What it was measured on.
fn machine(effort: Effort) -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let Effort { rounds, requests } = effort;
    let words = format!(
        "{cores} cores of {model}; {rounds} rounds of {requests} requests for each variant; load average at \
         the end {load}."
    );
    json!({ "words": words, "cores": cores, "model": model, "load": load })
}
