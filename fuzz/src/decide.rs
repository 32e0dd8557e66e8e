//! A decision on anything that a client can send, against the invariants of decisions.
//!
//! A written case is a request, `now`, and a `config`: the number of one of [`configs::all`], or a configuration in
//! which `"$jwks"` stands for the keys that sign. A token in a header is a piece `{"token": "k1", "header": "{..}",
//! "payload": "{..}"}`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::draw::Draw;
use crate::mint::{self, Signer};
use crate::subject::{Config, InvalidConfig, Request, WorkerState, config_of_value};
use crate::written;

mod configs;
mod invariants;
mod requests;

pub(crate) use configs::all as all_configs;
pub(crate) use requests::NOW;

/// A configuration, read once.
pub(crate) struct Subject {
    pub(crate) json: Value,
    pub(crate) config: Config,
    /// A worker state that earlier cases have used.
    pub(crate) used: RefCell<WorkerState>,
}

impl Subject {
    fn new(json: Value) -> Result<Self, Vec<InvalidConfig>> {
        let (config, _) = config_of_value(&json)?;
        Ok(Self { json, config, used: RefCell::new(WorkerState::portable()) })
    }
}

thread_local! {
    static SUBJECTS: Vec<Subject> = configs::all().into_iter().map(|json| Subject::new(json).unwrap()).collect();
}

/// A request, and its tokens that were signed with known keys.
pub(crate) struct Case {
    pub(crate) now: u64,
    pub(crate) request: Request,
    pub(crate) signed: Vec<String>,
    /// The written form of the case, without the configuration.
    written: Option<Value>,
}

pub(crate) fn run(data: &[u8]) {
    if let Some(mut draw) = Draw::of(data) {
        SUBJECTS.with(|subjects| {
            let number = draw.below(subjects.len());
            let case = requests::case(&mut draw);
            invariants::check(&subjects[number], &case, &number.into());
        });
    } else if let Some(written) = written::case(data) {
        written_down(&written).unwrap_or_default();
    }
}

fn written_down(written: &Value) -> Option<()> {
    let mut signed = Vec::new();
    let request = written::request(written, &mut |piece| {
        let text = |name: &str| piece.get(name).and_then(Value::as_str);
        let signer = Signer::named(text("token")?)?;
        let header = text("header").map(str::to_owned);
        let header = header.unwrap_or_else(|| format!(r#"{{"alg":"{}"}}"#, signer.algorithm()));
        let token = signer.token(&header, text("payload")?);
        if signer.is_known() {
            signed.push(token.clone());
        }
        Some(token.into_bytes())
    })?;
    let now = written.get("now").and_then(Value::as_u64).unwrap_or(NOW);
    let case = Case { now, request, signed, written: Some(written.clone()) };
    match written.get("config")? {
        Value::Number(number) => SUBJECTS.with(|subjects| {
            let subject = subjects.get(usize::try_from(number.as_u64()?).ok()?)?;
            invariants::check(subject, &case, &Value::Null);
            Some(())
        }),
        config => {
            let mut json = config.clone();
            mint::fill_in_jwks(&mut json);
            invariants::check(&Subject::new(json).ok()?, &case, &Value::Null);
            Some(())
        }
    }
}

impl Case {
    /// The written form of the case. Tokens are printed whole, since their keys are not secret.
    fn shown(&self, config: &Value) -> String {
        let mut case = self.written.clone().unwrap_or_else(|| written::print(&self.request));
        if self.written.is_none() {
            case["now"] = json!(self.now);
            case["config"] = config.clone();
            // To be converted to pieces by hand.
            let parts = |token: &String| -> Vec<String> {
                let decoded = token.split('.').take(2).filter_map(mint::unbase64url);
                decoded.map(|part| String::from_utf8_lossy(&part).into_owned()).collect()
            };
            let signed: BTreeMap<&String, Vec<String>> =
                self.signed.iter().map(|token| (token, parts(token))).collect();
            case["signed"] = json!(signed);
        }
        case.to_string()
    }
}
