//! Warnings that are accepted in words: by a comment beside the line, or by a file. An error is never accepted.
//!
//! ```yaml
//! - issuer: https://idp.example.com # usher: allow no-audiences this issuer makes tokens for us alone
//! ```
//!
//! A comment alone on its line is about the next line with content. An entry that accepts nothing is a warning itself.

use std::collections::BTreeMap;

use usher_core::codec::problems::{Node, Object, Problems, did_you_mean};

use super::codes::CODES;
use crate::input::{self, File};
use crate::report::{Problem, Severity};

/// What begins an entry in a comment.
const MARK: &str = "usher: allow";

/// One kind of warning that is accepted, and where.
#[derive(Clone, Debug)]
struct Entry {
    code: String,
    /// Of warnings: their file, their line, the beginning of their path. Absent: any.
    file: Option<String>,
    line: Option<usize>,
    path: Option<String>,
    /// Where the entry itself stands.
    at: (String, Option<usize>),
    used: bool,
}

/// All that is accepted.
#[derive(Clone, Debug, Default)]
pub struct Accepted(Vec<Entry>);

impl Accepted {
    /// Reads `--allow FILE`: a list of `{code, reason}`, each perhaps with `file` and `path`, the beginning of a JSON path.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn read(file: &File) -> Result<Self, Vec<Problem>> {
        let mut accepted = Self::default();
        let documents = input::documents(&file.text);
        let documents = documents.map_err(|found| vec![Problem::unreadable(&file.name, found)])?;
        for (number, document) in documents.iter().enumerate() {
            let problems = Problems::default();
            let items = Node::root(&document.value).list(&problems).unwrap_or_default();
            for item in items {
                let Some(object) = item.object(&problems) else { continue };
                let line = document.locate(&item.at).map(|mark| mark.line);
                accepted.0.extend(entry(&object, (file.name.clone(), line), &problems));
                object.finish(&problems);
            }
            let found = Problem::all(&file.name, number, document, problems);
            if !found.is_empty() {
                return Err(found);
            }
        }
        Ok(accepted)
    }

    /// Adds the comments of a file.
    pub(super) fn comments(&mut self, file: &File, problems: &mut Vec<Problem>) {
        let lines: Vec<&str> = file.text.lines().collect();
        // The number of the next line with content, for each line.
        let mut next = lines.len();
        let mut ahead: Vec<usize> = Vec::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate().rev() {
            ahead.push(next);
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                next = index.saturating_add(1);
            }
        }
        ahead.reverse();
        for (index, line) in lines.iter().enumerate() {
            let Some((before, text)) = comment(line) else { continue };
            let number = index.saturating_add(1);
            let mut words = text.split_whitespace();
            let code = words.next().unwrap_or_default();
            if words.next().is_none() || !CODES.contains(&code) {
                let problem = match CODES.contains(&code) {
                    true => format!("accepts nothing: expected a reason behind `{code}`"),
                    false => format!("accepts nothing: {}", unknown(code)),
                };
                problems.push(unused(&file.name, Some(number), problem));
                continue;
            }
            let about = if before.trim_matches([' ', '\t', '-']).is_empty() {
                ahead.get(index).copied().unwrap_or(number)
            } else {
                number
            };
            self.0.push(Entry {
                code: code.to_owned(),
                file: Some(file.name.clone()),
                line: Some(about),
                path: None,
                at: (file.name.clone(), Some(number)),
                used: false,
            });
        }
    }

    /// Takes out what is accepted, and adds a warning for each entry that accepts nothing.
    pub(super) fn apply(&mut self, problems: &mut Vec<Problem>) {
        // By the line that they are about; those of a file are about any.
        let mut by_line: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (index, entry) in self.0.iter().enumerate() {
            by_line.entry(entry.line).or_default().push(index);
        }
        problems.retain(|problem| {
            let of_line = problem.line.and_then(|line| by_line.get(&Some(line)));
            let candidates = of_line.into_iter().chain(by_line.get(&None)).flatten();
            let accepts =
                |index: &&usize| self.0.get(**index).is_some_and(|entry| entry.accepts(problem));
            let Some(index) = candidates.copied().find(|index| accepts(&index)) else {
                return true;
            };
            if let Some(entry) = self.0.get_mut(index) {
                entry.used = true;
            }
            false
        });
        let idle = self.0.iter().filter(|entry| !entry.used);
        problems.extend(idle.map(|entry| {
            let problem = format!("accepts nothing: there is no warning `{}` here", entry.code);
            unused(&entry.at.0, entry.at.1, problem)
        }));
    }
}

impl Entry {
    fn accepts(&self, problem: &Problem) -> bool {
        problem.severity == Severity::Warning
            && problem.code.as_deref() == Some(self.code.as_str())
            && self.file.as_ref().is_none_or(|file| *file == problem.file)
            && (self.line.is_none() || self.line == problem.line)
            && self.path.as_ref().is_none_or(|path| is_below(&problem.path, path))
    }
}

fn entry(object: &Object<'_>, at: (String, Option<usize>), problems: &Problems) -> Option<Entry> {
    let code = object.required("code", problems)?;
    let name = code.filled_text(problems)?;
    if !CODES.contains(&name) {
        problems.error(&code.at, unknown(name));
    }
    let reason = object.required("reason", problems);
    reason.and_then(|reason| reason.filled_text(problems));
    let text = |name| object.field(name).and_then(|node| node.filled_text(problems));
    let (file, path) = (text("file").map(str::to_owned), text("path").map(str::to_owned));
    Some(Entry { code: name.to_owned(), file, line: None, path, at, used: false })
}

fn unknown(code: &str) -> String {
    format!("no warning has the code `{code}`{}", did_you_mean(code, CODES.into_iter()))
}

/// Whether a path is at or below another: `jwtRules[1]` is not below `jwtRules[10]`.
fn is_below(path: &str, above: &str) -> bool {
    let rest = path.strip_prefix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn unused(file: &str, line: Option<usize>, problem: String) -> Problem {
    Problem {
        file: file.to_owned(),
        line,
        column: line.map(|_| 1),
        document: 0,
        severity: Severity::Warning,
        path: String::new(),
        problem,
        code: Some("unused-allow".to_owned()),
    }
}

/// A line's text before an entry's comment, and the text behind its mark. A `#` begins a comment where white space is
/// before it, outside of quotes.
fn comment(line: &str) -> Option<(&str, &str)> {
    let (mut single, mut double, mut before) = (false, false, ' ');
    for (index, char) in line.char_indices() {
        match char {
            '\'' if !double => single = !single,
            '"' if !single && before != '\\' => double = !double,
            '#' if !single && !double && before.is_whitespace() => {
                let (content, comment) = line.split_at_checked(index)?;
                let text = comment.trim_start_matches('#').trim_start().strip_prefix(MARK)?;
                return (text.is_empty() || text.starts_with(char::is_whitespace))
                    .then_some((content, text));
            }
            _ => {}
        }
        before = char;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(line: usize, code: &str, path: &str) -> Problem {
        Problem {
            file: "a.yaml".to_owned(),
            line: Some(line),
            path: path.to_owned(),
            code: Some(code.to_owned()),
            ..unused("a.yaml", Some(line), "doubtful".to_owned())
        }
    }

    fn left(accepted: &mut Accepted, problems: Vec<Problem>) -> Vec<String> {
        let mut problems = problems;
        accepted.apply(&mut problems);
        problems
            .iter()
            .map(|p| format!("{:?} {}", p.line.unwrap_or(0), p.code.clone().unwrap_or_default()))
            .collect()
    }

    #[test]
    fn a_comment_accepts_one_kind_of_one_line() {
        let text = "jwtRules:\n- issuer: a # usher: allow no-audiences ours alone\n\
                    # usher: allow no-alg the issuer is old\n\n# more\n- issuer: b\n";
        let file = File { name: "a.yaml".to_owned(), text: text.to_owned(), named: true };
        let (mut accepted, mut found) = (Accepted::default(), Vec::new());
        accepted.comments(&file, &mut found);
        assert_eq!(found, []);
        let problems = vec![
            warning(2, "no-audiences", ""),
            warning(2, "no-alg", ""),
            warning(6, "no-alg", ""),
            warning(6, "no-audiences", ""),
        ];
        assert_eq!(left(&mut accepted, problems), ["2 no-alg", "6 no-audiences"]);
        assert_eq!(left(&mut Accepted::default(), vec![warning(2, "no-alg", "")]), ["2 no-alg"]);
    }

    #[test]
    fn an_entry_without_use_reason_or_code_is_a_warning() {
        for (line, part) in [
            ("a: 1 # usher: allow no-alg because", "there is no warning `no-alg` here"),
            ("a: 1 # usher: allow no-alg", "expected a reason"),
            ("a: 1 # usher: allow no-algs because", "did you mean `no-alg`?"),
            ("a: 1 # usher: allow", "no warning has the code ``"),
        ] {
            let file = File { name: "a.yaml".to_owned(), text: line.to_owned(), named: true };
            let (mut accepted, mut found) = (Accepted::default(), Vec::new());
            accepted.comments(&file, &mut found);
            accepted.apply(&mut found);
            let told: Vec<&str> = found.iter().map(|p| p.problem.as_str()).collect();
            assert!(told.len() == 1 && told[0].contains(part), "{line}: {told:?}");
        }
        for line in [
            "a: '# usher: allow no-alg x'",
            "a: \"x # usher: allow no-alg x\"",
            "a#usher: allow x y",
        ] {
            assert_eq!(comment(line), None, "{line}");
        }
    }

    #[test]
    fn a_file_accepts_by_code_file_and_path() {
        let read = |text: &str| {
            Accepted::read(&File {
                name: "allow.yaml".to_owned(),
                text: text.to_owned(),
                named: true,
            })
        };
        let mut accepted = read(
            "- {code: no-alg, reason: old}\n- {code: no-kid, file: b.yaml, reason: r}\n\
             - {code: no-audiences, path: 'jwtRules[1]', reason: r}\n",
        )
        .unwrap();
        let problems = vec![
            warning(1, "no-alg", "x"),
            warning(2, "no-kid", "x"),
            warning(3, "no-audiences", "jwtRules[1].jwks"),
            warning(4, "no-audiences", "jwtRules[10]"),
        ];
        assert_eq!(left(&mut accepted, problems), ["2 no-kid", "4 no-audiences", "2 unused-allow"]);
        for text in [
            "- {code: no-alg}",
            "- {reason: r}",
            "- {code: x, reason: r}",
            "- {code: no-alg, reason: r, y: 1}",
            "a: 1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
