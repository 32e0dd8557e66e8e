//! Usher's metrics as Prometheus would scrape them: the tag rules, and what comes out of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use usher_core::observe::metrics::{family, stat};

/// By whose rules Envoy takes labels out of the names of its stats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tags {
    /// Envoy's own, and one for each label of Usher's, as `envoy/envoy.yaml` has them.
    #[default]
    Envoy,
    /// Those that Istio's bootstrap has, with Usher's labels as `extraStatTags`.
    Istio,
}

/// One series of an answer of `/stats/prometheus`.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The metric.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Tags {
    /// The bootstrap's `stats_config`.
    pub fn config(self) -> Value {
        let rule = |tag: &str, regex: &str| json!({ "tag_name": tag, "regex": regex });
        let labels = family::labels();
        let mut rules: Vec<Value> =
            labels.iter().map(|label| rule(label, &stat::tag_rule(label))).collect();
        if self == Self::Istio {
            // istio/istio tools/packaging/common/envoy_bootstrap.json: those that are not anchored.
            for (tag, regex) in [
                ("cache", r"(cache\.(.+?)\.)"),
                ("component", r"(component\.(.+?)\.)"),
                ("tag", r"(tag\.(.+?);\.)"),
                ("wasm_filter", r"(wasm_filter\.(.+?)\.)"),
                ("authz_enforce_result", r"rbac(\.(allowed|denied))"),
                ("authz_dry_run_action", r"(\.istio_dry_run_(allow|deny)_)"),
                ("authz_dry_run_result", r"(\.shadow_(allowed|denied))"),
                ("response_code", r"_rq(_(\d{3}))$"),
                ("response_code_class", r"_rq(_(\dxx))$"),
            ] {
                rules.push(rule(tag, regex));
            }
        }
        json!({ "use_all_default_tags": self == Self::Envoy, "stats_tags": rules })
    }
}

/// Every series of Usher's in a text of the exposition format. By hand: prometheus-parse 0.2.5 drops each label whose
/// value holds `=`, cuts one at a comma, and takes no line with a brace in a label.
///
/// # Panics
/// When a line of Usher's cannot be read.
pub fn series(text: &str) -> Vec<Series> {
    text.lines().filter(|line| line.starts_with("usher_")).map(read).collect()
}

fn read(line: &str) -> Series {
    let (name, rest) = line.split_once('{').unwrap_or_else(|| panic!("no labels: {line}"));
    let (labels, value) = rest.rsplit_once("} ").unwrap_or_else(|| panic!("no value: {line}"));
    let pairs = labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
        let (label, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        (label.to_owned(), value.trim_end_matches('"').to_owned())
    });
    Series { name: name.to_owned(), labels: pairs.collect(), value: value.parse().unwrap() }
}

/// The sum over all series of a metric that have these labels.
pub fn sum(series: &[Series], name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |series: &Series| {
        labels.iter().all(|(label, value)| series.labels.get(*label).is_some_and(|v| v == value))
    };
    series.iter().filter(|series| series.name == name && has(series)).map(|s| s.value).sum()
}
