//! What was measured, for machines and for people.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use crate::measure::{FULL, Footprint, MINIMAL, Outcome, Ratio};
use crate::stats::Spread;

/// `report.json`.
pub(crate) fn json(outcomes: &[Outcome], footprint: &Footprint, machine: &Value) -> Result<Value> {
    let mut works = Vec::new();
    for outcome in outcomes {
        let mut variants = Vec::new();
        for cost in &outcome.costs {
            let above = outcome.above_empty(&cost.variant)?;
            variants.push(json!({
                "variant": cost.variant,
                "cpuMicroseconds": spread(Spread::of(&cost.cpu)),
                "cpuMicrosecondsAboveEmpty": spread(Spread::of(&above)),
                "rounds": cost.cpu,
                "latencyMicroseconds": {
                    "p50": cost.percentile(0.5),
                    "p90": cost.percentile(0.9),
                    "p99": cost.percentile(0.99),
                },
            }));
        }
        let ratios = outcome.ratios.iter().map(|ratio| {
            json!({
                "variant": ratio.variant,
                "to": ratio.to,
                "goal": ratio.goal,
                "ratio": spread(ratio.spread),
            })
        });
        works.push(json!({
            "name": outcome.name,
            "about": outcome.about,
            "variants": variants,
            "ratios": ratios.collect::<Vec<_>>(),
        }));
    }
    Ok(json!({
        "machine": machine,
        "workloads": works,
        "footprint": {
            "moduleBytes": footprint.module_bytes,
            "loadMilliseconds": {
                "wall": spread(footprint.load_wall), "cpu": spread(footprint.load_cpu),
            },
            "residentKiB": footprint.resident,
            "workerKiB": footprint.worker,
        },
    }))
}

fn spread(spread: Spread) -> Value {
    json!({ "median": spread.median, "quartiles": [spread.low, spread.high] })
}

/// `report.md`.
pub(crate) fn markdown(
    outcomes: &[Outcome],
    footprint: &Footprint,
    machine: &Value,
) -> Result<String> {
    let mut text = String::from("# Usher beside Envoy's native filters\n\n");
    writeln!(text, "{}\n", machine["words"].as_str().unwrap_or_default())?;
    text.push_str(
        "## Ratios\n\nCost of a variant above the empty filter chain, as a part of another's: ",
    );
    text.push_str("median of the rounds, and quartiles.\n\n");
    text.push_str(
        "| work | variant | against | ratio | quartiles | goal |\n|---|---|---|---|---|---|\n",
    );
    for outcome in outcomes {
        for ratio in &outcome.ratios {
            let Ratio { variant, to, goal, spread } = ratio;
            let goal = goal.map_or_else(String::new, |goal| {
                let word = if spread.median <= goal { "met" } else { "missed" };
                format!("at most {goal:.2}: {word}")
            });
            writeln!(
                text,
                "| {} | {variant} | {to} | **{:.2}** | {:.2} to {:.2} | {goal} |",
                outcome.name, spread.median, spread.low, spread.high
            )?;
        }
    }
    text.push_str("\n## Footprint\n\n| what | measured | goal |\n|---|---|---|\n");
    let kib = footprint.module_bytes as f64 / 1024.0;
    writeln!(text, "| usher.wasm | {kib:.0} KiB | at most 500 KiB |")?;
    let Spread { low, median, high } = footprint.load_wall;
    writeln!(
        text,
        "| load: start of Envoy, longer with Usher by | {median:.0} ms ({low:.0} to {high:.0}) | at most 200 ms |"
    )?;
    writeln!(text, "| CPU time of that | {:.0} ms | |", footprint.load_cpu.median)?;
    for (what, kib) in &footprint.resident {
        writeln!(text, "| resident memory: {what} | {:.1} MiB | |", kib / 1024.0)?;
    }
    for (what, kib) in &footprint.worker {
        writeln!(text, "| each further worker: {what} | {:.1} MiB | |", kib / 1024.0)?;
    }
    if let (Some(full), Some(least)) = (footprint.worker.get(FULL), footprint.worker.get(MINIMAL)) {
        let mib = (full - least) / 1024.0;
        writeln!(text, "| the same, above {MINIMAL} | {mib:.1} MiB | at most 8 MiB |")?;
    }
    text.push_str("\n## Costs\n");
    for outcome in outcomes {
        writeln!(text, "\n### {}\n\n{}\n", outcome.name, outcome.about)?;
        text.push_str(
            "| variant | CPU µs a request | above empty | quartiles | p50 µs | p90 | p99 |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|\n");
        for cost in &outcome.costs {
            let above = Spread::of(&outcome.above_empty(&cost.variant)?);
            writeln!(
                text,
                "| {} | {:.1} | {:+.1} | {:.1} to {:.1} | {:.0} | {:.0} | {:.0} |",
                cost.variant,
                Spread::of(&cost.cpu).median,
                above.median,
                above.low,
                above.high,
                cost.percentile(0.5),
                cost.percentile(0.9),
                cost.percentile(0.99),
            )?;
        }
    }
    Ok(text)
}
