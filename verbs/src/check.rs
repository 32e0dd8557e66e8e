//! `usher check`: every problem of every file at once, with its place.

mod accept;
mod codes;

pub use accept::Accepted;
pub use codes::CODES;

use usher_core::Compiled;
use usher_core::codec::problems::Problems;
use usher_core::time::UnixSeconds;

use crate::input::{Document, File};
use crate::lint::earlier::{self, Input, Plugin};
use crate::lint::no_token;
use crate::manifest::{PluginConfig, Waypoints};
use crate::report::{Problem, Severity};
use crate::{config, input, lint, manifest};

/// What is wrong or doubtful in some files.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// In the order of the files.
    pub problems: Vec<Problem>,
    /// How many configurations and manifests were checked.
    pub count: usize,
    /// Who gets in without a token, for each valid configuration.
    pub summaries: Vec<Summary>,
}

/// Who gets in without a token.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The file as named.
    pub file: String,
    /// JSON path of the configuration in its document, empty for the whole.
    pub path: String,
    /// A line for each kind of request.
    pub lines: Vec<String>,
}

impl Checked {
    /// Whether a document is invalid.
    pub fn is_valid(&self) -> bool {
        self.problems.iter().all(|problem| problem.severity != Severity::Error)
    }
}

/// Checks files together. A file holds one or more YAML documents, or JSON: a pluginConfig, or manifests (WasmPlugin,
/// TrafficExtension, RequestAuthentication, AuthorizationPolicy), or an Envoy configuration with filters of Usher in it.
/// Other manifests and plugins are passed over, unless there is nothing else. `accepted` has the warnings that are expected,
/// beside those of comments.
pub fn check(files: &[File], mut accepted: Accepted, now: UnixSeconds) -> Checked {
    let mut checked = Checked::default();
    let mut read = Vec::new();
    for file in files {
        match input::documents(&file.text) {
            Ok(documents) => {
                let numbered = documents.into_iter().enumerate();
                let is_meant = |document: &Document| file.named || config::is_recognized(document);
                let numbered = numbered.filter(|(_, document)| is_meant(document));
                read.extend(numbered.map(|(number, document)| (&file.name, number, document)));
            }
            Err(unreadable) => {
                checked.problems.push(Problem::unreadable(&file.name, unreadable));
                checked.count = checked.count.saturating_add(1);
            }
        }
    }
    let waypoints = Waypoints::of(read.iter().map(|(_, _, document)| &document.value));
    let judged = read.into_iter().map(|(file, number, document): (&String, usize, Document)| {
        Judged::of(file, number, document, &waypoints, now)
    });
    let all: Vec<Judged<'_>> = judged.collect();
    check_together(&all);
    let has_ours = all
        .iter()
        .any(|judged| !judged.found.configs.is_empty() || !judged.found.resources.is_empty());
    for document in all {
        checked.summaries.extend(document.summaries());
        checked.count = checked.count.saturating_add(document.found.count);
        checked.problems.extend(document.problems());
    }
    if has_ours {
        checked.problems.retain(|problem| problem.code.as_deref() != Some("not-checked"));
    }
    for file in files {
        accepted.comments(file, &mut checked.problems);
    }
    accepted.apply(&mut checked.problems);
    checked
}

/// A document, checked by itself.
struct Judged<'f> {
    file: &'f str,
    number: usize,
    document: Document,
    problems: Problems,
    found: manifest::Checked,
    /// The valid configurations in it, ready to decide.
    policies: Vec<Option<Compiled>>,
}

impl<'f> Judged<'f> {
    fn of(
        file: &'f str,
        number: usize,
        document: Document,
        waypoints: &Waypoints,
        now: UnixSeconds,
    ) -> Self {
        let problems = Problems::default();
        let found = config::configs(&document, waypoints, &problems);
        let policies: Vec<Option<Compiled>> =
            found.configs.iter().map(|config| config::read(config, &problems)).collect();
        let pairs = found.configs.iter().zip(&policies);
        let loaded: Vec<_> =
            pairs.filter_map(|(config, policy)| Some((config, policy.as_ref()?))).collect();
        for (plugin_config, policy) in &loaded {
            lint::plugin_config(plugin_config, policy, now, &problems);
        }
        lint::names(&loaded, &problems);
        if problems.is_valid() {
            for resource in &found.resources {
                let at = config::below(&resource.at, "spec");
                if resource.kind == "AuthorizationPolicy" {
                    lint::authorization_policy(resource, &at, &problems);
                } else {
                    lint::request_authentication(&resource.spec, &at, now, &problems);
                }
            }
        }
        Self { file, number, document, problems, found, policies }
    }

    /// The valid configurations, each with its compiled form.
    fn configs(&self) -> impl Iterator<Item = (&PluginConfig, &Compiled)> {
        let policies = self.found.configs.iter().zip(&self.policies);
        policies.filter_map(|(config, policy)| Some((config, policy.as_ref()?)))
    }

    fn summaries(&self) -> Vec<Summary> {
        let summary = |(config, policy): (&PluginConfig, &Compiled)| Summary {
            file: self.file.to_owned(),
            path: config.at.clone(),
            lines: no_token::summary(config, policy),
        };
        self.configs().map(summary).collect()
    }

    fn problems(self) -> Vec<Problem> {
        Problem::all(self.file, self.number, &self.document, self.problems)
    }
}

/// Records problems that only all documents together show.
fn check_together(all: &[Judged<'_>]) {
    let mut input = Input { plugins: Vec::new(), resources: Vec::new(), documents: Vec::new() };
    let mut owners = Vec::new();
    for judged in all {
        for (config, policy) in judged.configs() {
            let value = &judged.document.value;
            let manifest = manifest::is_manifest(value).then(|| config::manifest_of(config, value));
            input.plugins.push(Plugin { config, policy, manifest });
            owners.push(&judged.problems);
        }
        input.resources.extend(&judged.found.resources);
        input.documents.push(&judged.document.value);
    }
    for (number, problems) in owners.into_iter().enumerate() {
        earlier::check(&input, number, problems);
    }
}
