//! The invariants of each decision.

use std::collections::BTreeSet;

use serde_json::Value;

use super::requests::claims;
use super::{Case, Subject};
use crate::mint;
use crate::subject::{
    Config, Decision, LINE_BYTES, Normalization, Request, Trace, WorkerState, decide, log_line,
    normalize, strict_json, trailers,
};

pub(super) fn check(subject: &Subject, case: &Case, shown_config: &Value) {
    let checked = Checked::new(subject, case, shown_config);
    checked.the_same_by_every_way();
    checked.nobody_without_a_signature();
    checked.no_forged_header();
    checked.edits_are_applied_once();
    checked.emitted_lines();
    checked.path();
    checked.no_token_is_told();
    checked.reply();
}

struct Checked<'c> {
    config: &'c Config,
    case: &'c Case,
    subject: &'c Subject,
    shown_config: &'c Value,
    decision: Decision,
    /// The request that is forwarded, or that is logged.
    after: Request,
    /// The names that only Usher may set, folded.
    protected: BTreeSet<Vec<u8>>,
    /// The tokens in the request that have a good signature.
    present: Vec<&'c str>,
}

impl<'c> Checked<'c> {
    fn new(subject: &'c Subject, case: &'c Case, shown_config: &'c Value) -> Self {
        let decision =
            decide(&subject.config, &case.request, case.now, &mut WorkerState::portable());
        let values = case.request.headers.iter().map(|(_, value)| value);
        let values: Vec<Vec<u8>> =
            values.flat_map(|value| [value.clone(), percent_decoded(value)]).collect();
        let is_there = |token: &&str| values.iter().any(|value| contains(value, token.as_bytes()));
        Self {
            config: &subject.config,
            case,
            subject,
            shown_config,
            after: decision.mutations.applied(&case.request),
            protected: protected(&subject.json),
            present: case.signed.iter().map(String::as_str).filter(is_there).collect(),
            decision,
        }
    }

    fn shown(&self) -> String {
        let config =
            if self.shown_config.is_null() { &self.subject.json } else { self.shown_config };
        format!(
            "{:?} {:?}\n{}",
            self.decision.reason(),
            self.decision.mutations,
            self.case.shown(config)
        )
    }

    /// The same decision by a worker state that has just seen the request, by one that has seen
    /// many, and with a trace.
    fn the_same_by_every_way(&self) {
        let again = |worker_state: &mut WorkerState| {
            essence(&decide(self.config, &self.case.request, self.case.now, worker_state))
        };
        let (mut warm, mut told) = (WorkerState::portable(), WorkerState::portable());
        told.trace = Trace::Rules;
        again(&mut warm);
        let expected = essence(&self.decision);
        assert_eq!(again(&mut warm), expected, "a warm cache: {}", self.shown());
        assert_eq!(
            again(&mut self.subject.used.borrow_mut()),
            expected,
            "a used session: {}",
            self.shown()
        );
        assert_eq!(again(&mut told), expected, "with a trace: {}", self.shown());
    }

    fn emits(&self) -> bool {
        self.decision.mutations.set.iter().any(|(name, _)| self.protected.contains(&fold(name)))
    }

    /// INVARIANT: an identity is always a signed one.
    fn nobody_without_a_signature(&self) {
        match &self.decision.report.identity {
            None => assert!(!self.emits(), "emits without an identity: {}", self.shown()),
            Some(identity) => {
                let signed = self.present.iter().filter_map(|token| claims(token));
                let own = Value::Object(identity.claims.0.clone());
                assert!(
                    signed.into_iter().any(|claims| claims == own),
                    "unsigned: {}",
                    self.shown()
                );
            }
        }
        if self.decision.reply.is_some() {
            assert!(!self.emits(), "a refused request emits: {}", self.shown());
        }
    }

    /// INVARIANT (scrub-first): also in a refused request.
    fn no_forged_header(&self) {
        for (name, value) in &self.after.headers {
            let is_ours = |(set, lines): &(_, std::rc::Rc<[Vec<u8>]>)| {
                let set: &std::rc::Rc<[u8]> = set;
                **set == **name && lines.contains(value)
            };
            let forged = self.protected.contains(&fold(name)) && !name.starts_with(b":");
            let is_ours = self.decision.mutations.set.iter().any(is_ours);
            assert!(!forged || is_ours, "a forged header: {}", self.shown());
        }
        // The next reader of this request removes the headers that it names; a refused one has no
        // next reader.
        let goes_on = self.decision.reply.is_none();
        for line in self.after.lines("connection").filter(|_| goes_on) {
            let mut options = line.split(|b| *b == b',').map(|option| fold(option.trim_ascii()));
            let nominated = options.any(|option| self.protected.contains(&option));
            assert!(!nominated, "nominated to be removed: {}", self.shown());
        }
        for (name, _) in trailers(self.config, &self.case.request.headers) {
            let forged = self.protected.contains(&fold(&name)) && !name.starts_with(b":");
            assert!(!forged, "a forged trailer: {}", self.shown());
        }
    }

    fn edits_are_applied_once(&self) {
        let mutations = &self.decision.mutations;
        let again = mutations.applied(&self.after);
        assert_eq!(again.headers, self.after.headers, "applied twice: {}", self.shown());
        let removed = mutations.remove.iter().map(Vec::as_slice);
        let names: Vec<&[u8]> =
            removed.chain(mutations.set.iter().map(|(name, _)| &**name)).collect();
        let distinct: BTreeSet<&[u8]> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len(), "a name twice: {}", self.shown());
        let pseudo = mutations.remove.iter().any(|name| name.starts_with(b":"));
        assert!(!pseudo, "removes a pseudo header: {}", self.shown());
    }

    fn emitted_lines(&self) {
        for (name, lines) in &self.decision.mutations.set {
            if !self.protected.contains(&fold(name)) {
                continue;
            }
            // `encoding: raw` is UTF-8.
            let raw = name.starts_with(b"x-raw");
            for line in &**lines {
                let text = str::from_utf8(line).unwrap_or("\0");
                let good = match raw {
                    true => !text.chars().any(char::is_control),
                    false => is_printable(text),
                };
                assert!(
                    good && !line.is_empty(),
                    "a line `{}`: {}",
                    line.escape_ascii(),
                    self.shown()
                );
            }
        }
    }

    /// The evaluated path is the forwarded one, without a token that no rule forwards.
    fn path(&self) {
        if self.decision.reply.is_some() || self.decision.denial.is_some() {
            return;
        }
        let mode = self.config.settings.path_normalization;
        if let Some(path) = self.after.path().filter(|_| mode != Normalization::None) {
            let normal = normalize(path, mode).ok().map(|normal| normal.into_owned());
            assert_eq!(normal.as_deref(), Some(path), "not normal: {}", self.shown());
        }
        let rules = self.subject.json["jwtRules"].as_array();
        let forwards = |rule: &Value| rule["forwardOriginalToken"] == Value::Bool(true);
        let dry = self.subject.json["mode"] == "dryRun";
        if self.decision.report.identity.is_some()
            && !dry
            && !rules.into_iter().flatten().any(forwards)
        {
            let left = self.config.jwt.locations.find(&self.after);
            assert!(left.is_empty(), "a withheld token is still there: {}", self.shown());
        }
    }

    /// INVARIANT: nothing that is logged about a request contains a token's payload or signature.
    fn no_token_is_told(&self) {
        let line = log_line(self.config, &self.case.request, &self.decision, self.case.now);
        assert!(line.len() <= LINE_BYTES && is_printable(&line), "{line}\n{}", self.shown());
        let is_object = strict_json(line.as_bytes(), 8).is_ok_and(|value| value.is_object());
        assert!(is_object, "no JSON: {line}\n{}", self.shown());
        self.tells_no_token(&line);
        self.decision.filter_state(|name, value| {
            let good = value.len() <= 256 && is_printable(value);
            assert!(good, "{name} {value}\n{}", self.shown());
            self.tells_no_token(value);
        });
        if let Some(reply) = &self.decision.reply {
            self.tells_no_token(&format!("{reply:?}"));
        }
    }

    fn tells_no_token(&self, text: &str) {
        for token in &self.present {
            let mut parts = token.split('.');
            let header = parts.next().and_then(mint::unbase64url);
            let header = header.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            // Only texts that some verifier could take for a token.
            if header.is_none_or(|header| header.get("alg").is_none()) || !token.starts_with('e') {
                continue;
            }
            for part in parts.filter(|part| part.len() >= 24) {
                assert!(!text.contains(part), "contains a token: {text}\n{}", self.shown());
            }
        }
    }

    fn reply(&self) {
        let Some(reply) = &self.decision.reply else { return };
        assert!((400..600).contains(&reply.status), "{}", self.shown());
        for (name, value) in &reply.headers {
            assert!(is_printable(name) && is_printable(value), "{name}: {value}\n{}", self.shown());
        }
        assert!(self.decision.denial.is_some(), "a reply without a reason: {}", self.shown());
    }
}

/// The content of a decision, without how it was found.
fn essence(decision: &Decision) -> String {
    let report = &decision.report;
    let identity = report.identity.as_ref().map(|i| (&i.provider, &i.claims, &i.space_delimited));
    let missing_keys =
        decision.missing_keys.iter().map(|want| (want.remote.source.id(), &want.kid));
    format!(
        "{:?}\n{:?}\n{:?}\n{:?} {} {identity:?} {:?} {:?} {:?} {:?} {:?}",
        decision.reply,
        decision.mutations,
        decision.denial,
        report.spoofed,
        report.token_present,
        report.header,
        report.claimed_provider,
        report.authorization,
        report.denied_by_policy,
        missing_keys.collect::<Vec<_>>(),
    )
}

/// The names that a configuration reserves for Usher.
fn protected(config: &Value) -> BTreeSet<Vec<u8>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut names = list(&config["identityHeaders"]["strip"]);
    for rule in list(&config["jwtRules"]) {
        names.push(rule["outputPayloadToHeader"].clone());
        names.extend(list(&rule["outputClaimToHeaders"]).iter().map(|o| o["header"].clone()));
    }
    names.iter().filter_map(Value::as_str).map(|name| fold(name.as_bytes())).collect()
}

/// A header's name as an application reads it whose variables have one separator.
fn fold(name: &[u8]) -> Vec<u8> {
    let one = |b: &u8| if b.is_ascii_alphanumeric() { b.to_ascii_lowercase() } else { b'-' };
    name.iter().map(one).collect()
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let digits =
            tail.get(..2).filter(|d| *first == b'%' && d.iter().all(u8::is_ascii_hexdigit));
        match digits.and_then(|digits| str::from_utf8(digits).ok()) {
            Some(digits) => {
                decoded.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &tail[2..];
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    decoded
}
