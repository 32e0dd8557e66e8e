//! Problems for people (`file:line:column: path: problem`) and scripts.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::{Value, json};
use usher_verbs::config::Source;
use usher_verbs::report::{Problem, Severity};

use crate::command::Format;
use crate::style::{DOUBTFUL, FAINT, one_line};

/// Writes the problems: as text to `errors`, as JSON lines to `answers`.
pub(crate) fn write(
    problems: &[Problem],
    format: Format,
    answers: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<()> {
    for problem in problems {
        match format {
            Format::Text => writeln!(errors, "{}", text(problem))?,
            Format::Json => writeln!(answers, "{}", serde_json::to_string(problem)?)?,
        }
    }
    Ok(())
}

fn text(problem: &Problem) -> String {
    let mut text = one_line(&problem.file).into_owned();
    for place in [problem.line, problem.column].into_iter().flatten() {
        text.push_str(&format!(":{place}"));
    }
    text.push_str(": ");
    match problem.severity {
        Severity::Error => {}
        Severity::Warning => text.push_str(&format!("{DOUBTFUL}warning:{DOUBTFUL:#} ")),
    }
    if !problem.path.is_empty() {
        text.push_str(&format!("{}: ", one_line(&problem.path)));
    }
    text.push_str(&one_line(&problem.problem));
    // As an entry that accepts it names it.
    if let Some(code) = &problem.code {
        text.push_str(&format!(" {FAINT}[{code}]{FAINT:#}"));
    }
    text
}

/// Says that a configuration was made of something else.
pub(crate) fn converted(source: &Source, errors: &mut dyn Write) -> io::Result<()> {
    if !source.is_converted() {
        return Ok(());
    }
    let file = one_line(source.file());
    writeln!(errors, "{FAINT}note:{FAINT:#} {file}: converted first, as `usher convert` prints it")
}

/// Where the kinds of warnings are explained.
const PAGE: &str = "docs/cli/warnings.md";

/// Writes the problems as annotations of GitHub Actions (workflow commands `::error` and `::warning`).
pub(crate) fn github(problems: &[Problem], out: &mut dyn Write) -> io::Result<()> {
    for problem in problems {
        let (level, title) = match problem.severity {
            Severity::Error => ("error", "usher"),
            Severity::Warning => ("warning", problem.code.as_deref().unwrap_or("usher")),
        };
        let mut place = format!("file={}", property(&problem.file));
        for (name, value) in [("line", problem.line), ("col", problem.column)] {
            if let Some(value) = value {
                place.push_str(&format!(",{name}={value}"));
            }
        }
        let message = data(&with_path(problem));
        writeln!(out, "::{level} {place},title={}::{message}", property(title))?;
    }
    Ok(())
}

/// The message of a workflow command: what would end it is escaped.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn with_path(problem: &Problem) -> String {
    match problem.path.as_str() {
        "" => problem.problem.clone(),
        path => format!("{path}: {}", problem.problem),
    }
}

/// Writes the problems as SARIF 2.1.0, also if there are none: a scan that found nothing closes old alerts.
pub(crate) fn sarif(problems: &[Problem], out: &mut dyn Write) -> io::Result<()> {
    let codes: BTreeSet<&str> = problems.iter().map(rule_id).collect();
    let rule = |code: &&str| json!({ "id": code, "helpUri": format!("{PAGE}#{code}") });
    let rules: Vec<Value> = codes.iter().map(rule).collect();
    let results: Vec<Value> = problems.iter().map(result).collect();
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "usher check",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    writeln!(out, "{document:#}")
}

/// The kind of a problem; an error has none of its own.
fn rule_id(problem: &Problem) -> &str {
    problem.code.as_deref().unwrap_or("invalid")
}

fn result(problem: &Problem) -> Value {
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut place = json!({ "artifactLocation": { "uri": uri(&problem.file) } });
    if let (Some(line), Value::Object(members)) = (problem.line, &mut place) {
        let column = problem.column.unwrap_or(1);
        members.insert("region".to_owned(), json!({ "startLine": line, "startColumn": column }));
    }
    json!({
        "ruleId": rule_id(problem),
        "level": level,
        "message": { "text": with_path(problem) },
        "locations": [{ "physicalLocation": place }],
    })
}

/// A file's name as a relative reference (RFC 3986 section 4.2).
fn uri(file: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let mut uri = String::new();
    for byte in file.replace('\\', "/").bytes() {
        match plain(byte) {
            true => uri.push(char::from(byte)),
            false => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(severity: Severity, code: Option<&str>) -> Problem {
        Problem {
            file: "a b,c.yaml".to_owned(),
            line: Some(3),
            column: Some(5),
            document: 0,
            severity,
            path: "jwtRules[0]".to_owned(),
            problem: "100 %\nof it".to_owned(),
            code: code.map(str::to_owned),
        }
    }

    fn written(
        write: fn(&[Problem], &mut dyn Write) -> io::Result<()>,
        problems: &[Problem],
    ) -> String {
        let mut out = Vec::new();
        write(problems, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_problem_ends_an_annotation_early() {
        let problems = [problem(Severity::Error, None), problem(Severity::Warning, Some("no-kid"))];
        assert_eq!(
            written(github, &problems),
            "::error file=a b%2Cc.yaml,line=3,col=5,title=usher::jwtRules[0]: 100 %25%0Aof it\n\
             ::warning file=a b%2Cc.yaml,line=3,col=5,title=no-kid::jwtRules[0]: 100 %25%0Aof it\n"
        );
    }

    #[test]
    fn sarif_has_a_rule_for_each_kind_and_a_place_for_each_problem() {
        let problems = [problem(Severity::Error, None), problem(Severity::Warning, Some("no-kid"))];
        let document: Value = serde_json::from_str(&written(sarif, &problems)).unwrap();
        let run = &document["runs"][0];
        let ids: Vec<_> =
            run["tool"]["driver"]["rules"].as_array().unwrap().iter().map(|r| &r["id"]).collect();
        assert_eq!(ids, ["invalid", "no-kid"]);
        assert_eq!(run["results"][1]["ruleId"], "no-kid");
        assert_eq!(run["results"][1]["level"], "warning");
        let place = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b%2Cc.yaml");
        assert_eq!(place["region"], json!({ "startLine": 3, "startColumn": 5 }));
        let none: Value = serde_json::from_str(&written(sarif, &[])).unwrap();
        assert_eq!(none["runs"][0]["results"], json!([]));
    }
}
