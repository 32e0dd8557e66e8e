//! Problems with their file and place.

use serde::Serialize;
use usher_core::codec::problems::{InvalidConfig, Problems};

use crate::input::{Document, Unreadable};

/// An error, or something worth a second look, in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file as named on the command line, `-` for standard input.
    pub file: String,
    /// Its line, from 1; absent if the place is not known.
    pub line: Option<usize>,
    /// The column in that line, in characters from 1.
    pub column: Option<usize>,
    /// The number of the document in the file, from 0.
    pub document: usize,
    /// Whether it makes the document invalid.
    pub severity: Severity,
    /// JSON path in the document, empty for the whole.
    pub path: String,
    /// What was found and what was expected.
    pub problem: String,
    /// Of a warning, the name of its kind (docs/cli/warnings.md).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Whether a problem makes a document invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Makes the document invalid.
    Error,
    /// Valid, and worth a second look.
    Warning,
}

impl Problem {
    /// A text that is not YAML or JSON.
    pub fn unreadable(file: &str, unreadable: Unreadable) -> Self {
        Self {
            file: file.to_owned(),
            line: Some(unreadable.mark.line),
            column: Some(unreadable.mark.column),
            document: 0,
            severity: Severity::Error,
            path: String::new(),
            problem: unreadable.problem,
            code: None,
        }
    }

    /// All problems of a document, in the order of the file, as a compiler reports them.
    pub(crate) fn all(
        file: &str,
        number: usize,
        document: &Document,
        problems: Problems,
    ) -> Vec<Self> {
        let place = |severity: Severity, InvalidConfig { at, problem, code }: InvalidConfig| {
            let mark = document.locate(&at);
            let hint = unquoted(document, &at, &problem);
            Self {
                file: file.to_owned(),
                line: mark.map(|mark| mark.line),
                column: mark.map(|mark| mark.column),
                document: number,
                severity,
                path: at,
                problem: problem + &hint,
                code: Some(code).filter(|code| !code.is_empty()).map(str::to_owned),
            }
        };
        let (errors, warnings) = problems.into_parts();
        let errors = errors.into_iter().map(|error| place(Severity::Error, error));
        let warnings = warnings.into_iter().map(|warning| place(Severity::Warning, warning));
        let mut all: Vec<Self> = errors.chain(warnings).collect();
        drop_echoes(&mut all);
        all.sort_by_key(|problem| (problem.line, problem.column));
        all
    }
}

/// A misspelt field is also a missing one: if the right name is suggested, that is enough.
fn drop_echoes(all: &mut Vec<Problem>) {
    let suggested: Vec<(String, String)> = all
        .iter()
        .filter(|problem| problem.problem.starts_with("unknown field `"))
        .filter_map(|problem| {
            let (_, rest) = problem.problem.split_once("did you mean `")?;
            let name = rest.strip_suffix("`?")?;
            let (object, _) = problem.path.rsplit_once('.').unwrap_or_default();
            Some((object.to_owned(), format!("`{name}`")))
        })
        .collect();
    all.retain(|problem| {
        let echo = |(object, name): &(String, String)| {
            problem.path == *object
                && (problem.problem.contains(name) || problem.problem.ends_with("found none"))
        };
        !suggested.iter().any(echo)
    });
}

/// The remedy if a string was expected and YAML has read a word as something else.
fn unquoted(document: &Document, path: &str, problem: &str) -> String {
    match document.unquoted(path) {
        Some(word) if problem.starts_with("expected a string, found") => {
            format!("; in quotes it is a string: \"{word}\"")
        }
        _ => String::new(),
    }
}
