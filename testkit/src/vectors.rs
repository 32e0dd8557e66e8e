//! The test vectors: the project's own in `tests/vectors`, whose README describes their format, and those
//! that cannot be in it, beside the project.
//!
//! One of the project's own that is absent fails the test. Of the others each that is absent is
//! [skipped](crate::skip()) by name.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::skip;

/// The files of tokens that are here.
pub const OWN: [&str; 10] = [
    "gen_alg.json",
    "gen_claims.json",
    "gen_crit.json",
    "gen_encoding.json",
    "gen_good.json",
    "gen_json.json",
    "gen_jwks.json",
    "gen_keys.json",
    "gen_limits.json",
    "gen_sig.json",
];

/// The files of tokens that hold what is other projects'.
pub const ELSEWHERE: [&str; 12] = [
    "auth0_java_jwt.json",
    "envoy_jwt_authn.json",
    "go_jose.json",
    "golang_jwt.json",
    "istio.json",
    "jwt_verify_lib.json",
    "keats_jsonwebtoken.json",
    "panva_jose.json",
    "rfc.json",
    "rust_jwt_simple.json",
    "wycheproof.json",
    "wycheproof_signed_anew.json",
];

/// Where the vectors are.
#[derive(Debug)]
pub struct Folders {
    /// The project's own.
    pub own: PathBuf,
    /// The others: `vectors` below `$USHER_SHARED`, or else below `../shared` beside the project.
    pub elsewhere: PathBuf,
    /// The same folder, as it is named where a file is not in it.
    pub named: &'static str,
}

impl Default for Folders {
    fn default() -> Self {
        Self::with(std::env::var_os("USHER_SHARED").filter(|folder| !folder.is_empty()))
    }
}

impl Folders {
    fn with(shared: Option<OsString>) -> Self {
        let own = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors"));
        match shared {
            Some(folder) => Self {
                own,
                elsewhere: PathBuf::from(folder).join("vectors"),
                named: "$USHER_SHARED/vectors",
            },
            None => Self {
                own,
                elsewhere: concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors").into(),
                named: "../shared/vectors",
            },
        }
    }

    /// The text of one of the project's own.
    ///
    /// # Panics
    /// When it is absent.
    #[track_caller]
    pub fn text(&self, path: &str) -> String {
        let file = self.own.join(path);
        std::fs::read_to_string(&file).unwrap_or_else(|error| {
            panic!("{}: {error}; it is a part of the project: tests/vectors/{path}", file.display())
        })
    }

    /// Every file of tokens: the project's own, and of the others those that are here.
    ///
    /// # Panics
    /// When one of the project's own is absent, or another where nothing may be skipped.
    #[track_caller]
    pub fn tokens(&self) -> Tokens {
        let mut tokens = Tokens { cases: Vec::new(), absent: Vec::new() };
        for name in OWN {
            tokens.add(name, &self.text(name));
        }
        for name in ELSEWHERE {
            match std::fs::read_to_string(self.elsewhere.join(name)) {
                Ok(text) => tokens.add(name, &text),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    skip(name, &format!("not in {}", self.named));
                    tokens.absent.push(name);
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
        tokens
    }
}

/// The cases of the files of tokens.
#[derive(Debug)]
pub struct Tokens {
    /// Each case, in the order of the files.
    pub cases: Vec<Value>,
    /// The files that are not here.
    pub absent: Vec<&'static str>,
}

impl Tokens {
    fn add(&mut self, name: &str, text: &str) {
        let file: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        self.cases.extend(file["cases"].as_array().unwrap().iter().cloned());
    }

    /// Whether the case of this id would be in a file that is not here. An id begins with its file.
    pub fn lacks(&self, id: &str) -> bool {
        let file = id.split('/').next().unwrap();
        self.absent.iter().any(|name| name.strip_suffix(".json") == Some(file))
    }

    /// Of how many cases at least a test must hear, lest it tests nothing: most of those that are here.
    pub fn most(&self) -> usize {
        self.cases.len() / 4 * 3
    }
}

/// The text of one of the project's own vectors.
///
/// # Panics
/// When it is absent.
#[track_caller]
pub fn text(path: &str) -> String {
    Folders::default().text(path)
}

/// One of the project's own vectors that is one JSON text.
///
/// # Panics
/// When it is absent.
#[track_caller]
pub fn json(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap()
}

/// Every token, see [`Folders::tokens`].
///
/// # Panics
/// When one of the project's own files is absent, or another where nothing may be skipped.
#[track_caller]
pub fn tokens() -> Tokens {
    Folders::default().tokens()
}

/// The issuers of the tokens in the vectors of authorization.
const ISSUERS: [&str; 4] = [
    "https://idp.example.com",
    "https://idp.example.com/realms/x",
    "issuer-a@example.com",
    "plain",
];

/// The pluginConfig of a scenario of the authorization vectors.
pub fn plugin_config(scenario: &Value, jwks: &Value) -> Value {
    let rules: Vec<Value> =
        ISSUERS.iter().map(|issuer| json!({ "issuer": issuer, "jwks": jwks })).collect();
    let policies = scenario["policies"].as_array().unwrap().iter().map(|policy| {
        let mut entry = policy["spec"].clone();
        entry["name"] = policy["name"].clone();
        entry["namespace"] = policy["namespace"].clone();
        let dry_run = policy["annotations"]["istio.io/dry-run"].as_str();
        // Go's ParseBool; what it cannot parse is not a dry run (docs/semantics.md, "Dry run").
        let dry_run = dry_run.is_some_and(|v| ["1", "t", "T", "TRUE", "true", "True"].contains(&v));
        entry["dryRun"] = dry_run.into();
        entry
    });
    let mut trust_domains = vec![scenario["trustDomain"].clone()];
    trust_domains.extend(scenario["aliases"].as_array().cloned().unwrap_or_default());
    json!({
        "jwtRules": rules,
        // Istio demands no token by itself.
        "missingToken": "allow",
        "authorizationPolicies": policies.collect::<Vec<_>>(),
        "trustDomains": trust_domains,
        "pathNormalization": scenario["pathNormalization"],
        "sourceAddress": { "filterState": "usher.source_ip" },
    })
}
