//! A test file -> its configuration, its tokens and its cases.

use std::path::Path;

use usher_core::codec::json::{Map, Value};
use usher_core::codec::problems::{Node, Object, Problems};
use usher_core::time::UnixSeconds;

use super::case::{self, Case};
use super::tokens::{self, TokenSpec};
use crate::config::Source;
use crate::input::{self, Document, File};
use crate::manifest::PluginConfig;
use crate::report::{Problem, Severity};

/// The content of a test file.
#[derive(Debug)]
pub struct Suite {
    pub(super) file: String,
    pub(super) document: Document,
    /// The configuration under test.
    pub config: Config,
    /// By name.
    pub(super) tokens: Vec<(String, TokenSpec)>,
    pub(super) cases: Vec<Case>,
}

/// The configuration under test.
#[derive(Debug)]
pub enum Config {
    /// A file, by its name relative to where the command runs.
    File(String),
    /// Written into the test file.
    Inline(Box<Source>),
}

impl Suite {
    /// `file:line` of a path.
    pub(super) fn place(&self, path: &str) -> String {
        match self.document.locate(path) {
            Some(mark) => format!("{}:{}", self.file, mark.line),
            None => self.file.clone(),
        }
    }
}

/// Reads a test file; `config` replaces the configuration that it names.
///
/// # Errors
/// The file holds no tests, or several documents.
pub fn read(
    file: &File,
    config: Option<&str>,
    now: UnixSeconds,
) -> anyhow::Result<Result<Suite, Vec<Problem>>> {
    let mut documents = match input::documents(&file.text) {
        Ok(documents) => documents,
        Err(unreadable) => return Ok(Err(vec![Problem::unreadable(&file.name, unreadable)])),
    };
    let file = file.name.as_str();
    anyhow::ensure!(documents.len() < 2, "`{file}` holds several documents, expected one");
    let Some(document) = documents.pop() else {
        anyhow::bail!("`{file}` holds no tests");
    };
    let problems = Problems::default();
    let parts = parts(file, config, now, &document, &problems);
    let mut found = Problem::all(file, 0, &document, problems);
    found.retain(|problem| problem.severity == Severity::Error);
    Ok(match parts {
        Some((config, tokens, cases)) if found.is_empty() => {
            Ok(Suite { file: file.to_owned(), document, config, tokens, cases })
        }
        _ => Err(found),
    })
}

type Parts = (Config, Vec<(String, TokenSpec)>, Vec<Case>);

fn parts(
    file: &str,
    config: Option<&str>,
    now: UnixSeconds,
    document: &Document,
    problems: &Problems,
) -> Option<Parts> {
    let root = Node::root(&document.value).object(problems)?;
    let named = root.field("config");
    let config = match (config, named) {
        (Some(name), _) => Some(Config::File(name.to_owned())),
        (None, Some(node)) => config_of(file, document, &node, problems),
        (None, None) => {
            root.required("config", problems);
            None
        }
    };
    let now = root.field("now").and_then(|node| time(&node, problems)).unwrap_or(now);
    let tokens = root.field("tokens").map(|node| tokens_of(&node, now, problems));
    let cases = root.required("cases", problems);
    let cases = cases.and_then(|node| node.list(problems)).unwrap_or_default();
    let tokens = tokens.unwrap_or_default();
    let names: Vec<&str> = tokens.iter().map(|(name, _)| name.as_str()).collect();
    let cases = cases.iter().flat_map(|node| case::read(node, now, &names, problems)).collect();
    root.finish(problems);
    Some((config?, tokens, cases))
}

fn config_of(
    file: &str,
    document: &Document,
    node: &Node<'_>,
    problems: &Problems,
) -> Option<Config> {
    match node.value {
        Value::String(name) => {
            let beside = Path::new(file).parent().unwrap_or(Path::new("")).join(name);
            Some(Config::File(beside.to_string_lossy().into_owned()))
        }
        Value::Object(_) => {
            let config = PluginConfig::new(&node.at, node.value.clone());
            Some(Config::Inline(Box::new(Source::inline(file, document, config))))
        }
        _ => node.expected("a file's name, or a configuration", problems),
    }
}

fn tokens_of(node: &Node<'_>, now: UnixSeconds, problems: &Problems) -> Vec<(String, TokenSpec)> {
    let Value::Object(members) = node.value else {
        node.expected::<()>("an object of tokens by name", problems);
        return Vec::new();
    };
    let read = |(name, value): (&String, &Value)| {
        let node = Node { at: format!("{}.{name}", node.at), value };
        Some((name.clone(), tokens::read(&node, now, problems)?))
    };
    members.iter().filter_map(read).collect()
}

/// Seconds since 1970, or a time in RFC 3339.
pub(super) fn time(node: &Node<'_>, problems: &Problems) -> Option<UnixSeconds> {
    let Value::String(text) = node.value else {
        return node.integer(0..=253_402_300_799, problems).map(UnixSeconds);
    };
    crate::time::parse(text)
        .or_else(|| node.expected("a time such as `2026-11-25T12:00:00Z`", problems))
}

/// The members of an object field.
pub(super) fn members<'v>(
    object: &Object<'v>,
    name: &'static str,
    problems: &Problems,
) -> Option<(String, &'v Map<String, Value>)> {
    let node = object.field(name)?;
    match node.value {
        Value::Object(members) => Some((node.at, members)),
        _ => node.expected("an object", problems),
    }
}
