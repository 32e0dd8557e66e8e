//! The list of metrics. `docs/metrics.md` is generated from it, and a test compares the dashboard and the
//! alerts with it.

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Events since the proxy started.
    Counter,
    /// The current value.
    Gauge,
}

/// A metric.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Family {
    /// Its name, by Prometheus's conventions: base unit last, counters end in `_total`.
    pub name: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// Its labels in addition to `plugin`, which each metric has.
    pub labels: &'static [&'static str],
    /// Labels that read `other` once the family has [`Family::most`] series.
    pub open: &'static [&'static str],
    /// The most series of it for a plugin.
    pub most: usize,
    /// One sentence.
    pub help: &'static str,
}

/// Enough for the series that matter, few enough for a mesh of proxies: Prometheus keeps each series of each
/// pod.
const SERIES: usize = 400;

/// An issuer has a handful of keys at a time.
const KEYS: usize = 100;

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    open: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind: Kind::Counter, labels, open, most: SERIES, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, open: &[], most: SERIES, help }
}

/// Every decision.
pub static DECISIONS: Family = counter(
    "usher_decisions_total",
    &["decision", "enforced", "reason", "provider", "policy", "rule"],
    &["provider", "policy", "rule"],
    "Decisions. `enforced` is `false` for a refusal in a dry run; `provider` is the rule that verified the token, or whose issuer a refused one names; `policy` (`namespace/name`) and `rule` decided.",
);

/// Verified tokens by key.
pub static KEY_REQUESTS: Family = Family {
    name: "usher_key_requests_total",
    kind: Kind::Counter,
    labels: &["provider", "kid"],
    open: &["kid"],
    most: KEYS,
    help: "Requests with a verified token, by the key it names: an old key without requests can go.",
};

/// Signature checks.
pub static SIGNATURE_CHECKS: Family = counter(
    "usher_signature_checks_total",
    &["algorithm", "engine"],
    &[],
    "Signature checks. `engine` is `host` (Envoy's BoringSSL) or `portable` (in the module, some twenty times dearer).",
);

/// Spoofed identity headers.
pub static IDENTITY_HEADERS_STRIPPED: Family = counter(
    "usher_identity_headers_stripped_total",
    &["header"],
    &["header"],
    "Identity headers that a client sent and that were removed, by folded name.",
);

/// Identity headers that could not be written.
pub static IDENTITY_HEADERS_WITHHELD: Family = counter(
    "usher_identity_headers_withheld_total",
    &["header"],
    &["header"],
    "Identity headers that were not emitted, because `encoding: raw` cannot write a claim with white space at an end.",
);

/// Lines of the decision log that were not written.
pub static DECISION_LOG_SUPPRESSED: Family = counter(
    "usher_decision_log_suppressed_total",
    &[],
    &[],
    "Lines that the decision log left out, because there were more in a second than `decisionLog.refusalsPerSecond`.",
);

/// What dry-run policies would have done.
pub static DRY_RUN_VERDICTS: Family = counter(
    "usher_dry_run_verdicts_total",
    &["action", "verdict"],
    &[],
    "What policies with `dryRun` would have done.",
);

/// Tokens that `mode: dryRun` left in requests.
pub static DRY_RUN_TOKENS: Family = counter(
    "usher_dry_run_withheld_tokens_total",
    &[],
    &[],
    "Requests in which `mode: dryRun` left a token that enforcement would have taken out.",
);

/// CORS preflights.
pub static CORS_PREFLIGHTS: Family = counter(
    "usher_cors_preflights_total",
    &["decision"],
    &[],
    "CORS preflights of which no token was asked (`corsPreflight: authorize`); each is among the decisions too.",
);

/// Lookups in the cache of verified tokens.
pub static TOKEN_CACHE_LOOKUPS: Family = counter(
    "usher_token_cache_lookups_total",
    &["result"],
    &[],
    "Lookups in the cache of verified tokens: `hit` or `miss`.",
);

/// Entries that were evicted.
pub static TOKEN_CACHE_EVICTIONS: Family = counter(
    "usher_token_cache_evictions_total",
    &[],
    &[],
    "Verified tokens that left the cache to make room.",
);

/// Entries in the cache.
pub static TOKEN_CACHE_ENTRIES: Family =
    gauge("usher_token_cache_entries", &[], "Verified tokens in the caches of all workers.");

/// Fetches of remote key sets.
pub static JWKS_REFRESHES: Family = counter(
    "usher_jwks_refreshes_total",
    &["provider", "result"],
    &["provider"],
    "Fetches of a remote key set: `success`, `empty` (the issuer lists no key for signatures: the last one is withdrawn) or `failure` (nothing is withdrawn: the last good set stays within `maxStale`).",
);

/// When a remote key set was fetched.
pub static JWKS_LAST_SUCCESS: Family = gauge(
    "usher_jwks_last_success_timestamp_seconds",
    &["provider"],
    "When a remote key set was last fetched, in Unix time: its age is `time()` less this.",
);

/// Usable keys.
pub static JWKS_KEYS: Family = gauge(
    "usher_jwks_keys",
    &["provider"],
    "Usable keys of a provider; 0 where none was fetched yet, where the issuer has withdrawn the last one, or where the provider is gone from the configuration.",
);

/// Keys that fit one token beyond the budget.
pub static JWKS_KEYS_UNTRIED: Family = gauge(
    "usher_jwks_keys_untried",
    &["provider"],
    "Keys of one algorithm that fit one token of a provider beyond `limits.signatureChecks`: a token of one of them may be refused as `key_unknown`; 0 is as it should be.",
);

/// Requests that could not wait.
pub static PENDING_OVERFLOW: Family = counter(
    "usher_pending_requests_overflow_total",
    &[],
    &[],
    "Requests that were answered at once, though their keys were on the way: 1,024 others waited in the worker.",
);

/// Configurations so far.
pub static CONFIG_GENERATION: Family = gauge(
    "usher_config_generation",
    &[],
    "How many configurations the plugin has put in force since the proxy started.",
);

/// Whether the newest configuration is valid.
pub static CONFIG_VALID: Family = gauge(
    "usher_config_valid",
    &[],
    "1 if the newest configuration is valid, else 0; the log says what is wrong with it.",
);

/// The hash of the configuration.
pub static CONFIG_HASH: Family = gauge(
    "usher_config_hash",
    &[],
    "The first 48 bits of the SHA-256 of the configuration in force: proxies that differ in it differ in their configuration.",
);

/// The version of the module.
pub static BUILD_INFO: Family =
    gauge("usher_build_info", &["version"], "1, for the module's version.");

/// Every metric.
pub static ALL: &[&Family] = &[
    &DECISIONS,
    &KEY_REQUESTS,
    &SIGNATURE_CHECKS,
    &IDENTITY_HEADERS_STRIPPED,
    &IDENTITY_HEADERS_WITHHELD,
    &DECISION_LOG_SUPPRESSED,
    &DRY_RUN_VERDICTS,
    &DRY_RUN_TOKENS,
    &CORS_PREFLIGHTS,
    &TOKEN_CACHE_LOOKUPS,
    &TOKEN_CACHE_EVICTIONS,
    &TOKEN_CACHE_ENTRIES,
    &JWKS_REFRESHES,
    &JWKS_LAST_SUCCESS,
    &JWKS_KEYS,
    &JWKS_KEYS_UNTRIED,
    &PENDING_OVERFLOW,
    &CONFIG_GENERATION,
    &CONFIG_VALID,
    &CONFIG_HASH,
    &BUILD_INFO,
];

/// Every label, `plugin` first: one tag rule each.
pub fn labels() -> Vec<&'static str> {
    let mut labels = vec!["plugin"];
    for label in ALL.iter().flat_map(|family| family.labels) {
        if !labels.contains(label) {
            labels.push(label);
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::MAX_LABELS;

    #[test]
    fn names_are_prometheus_s() {
        let clean = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        for family in ALL {
            let name = family.name;
            assert!(clean(name) && name.starts_with("usher_"), "{name}");
            assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
            assert!(family.labels.len() <= MAX_LABELS, "{name}");
            assert!(family.labels.iter().all(|label| clean(label)), "{name}");
            assert!(family.open.iter().all(|label| family.labels.contains(label)), "{name}");
        }
    }

    #[test]
    fn no_label_ends_in_another() {
        // Istio's tag rules are not anchored: that of `id` would read `kid` too.
        for a in labels() {
            for b in labels() {
                assert!(a == b || !a.ends_with(b), "{a} ends in {b}");
            }
        }
    }
}
