//! What the documents say is true: links and paths lead somewhere, comments cite headings that exist,
//! configurations are accepted, and the README's table is the demo's.

use std::path::{Path, PathBuf};

use serde_json::Value;
use usher_core::load;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every Markdown file that the project tracks, below its root.
pub(super) fn documents() -> Vec<PathBuf> {
    tracked(&["*.md"])
}

/// The files that the project tracks under patterns of git.
pub(super) fn tracked(patterns: &[&str]) -> Vec<PathBuf> {
    let list = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .args(patterns)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    let files = String::from_utf8(list.stdout).unwrap();
    files.lines().map(PathBuf::from).filter(|file| root().join(file).exists()).collect()
}

pub(super) fn read(file: impl AsRef<Path>) -> String {
    let path = root().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("```") {
            let block: Vec<&str> =
                lines.by_ref().take_while(|line| !line.trim_start().starts_with("```")).collect();
            if line.trim() == format!("```{language}") {
                blocks.push(block.join("\n"));
            }
        }
    }
    blocks
}

/// The text outside fenced blocks.
fn prose(text: &str) -> String {
    split(text).0
}

/// The text outside fenced blocks, and the text inside.
fn split(text: &str) -> (String, String) {
    let mut fenced = false;
    let (mut prose, mut inside) = (String::new(), String::new());
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let part = if fenced { &mut inside } else { &mut prose };
        part.push_str(line);
        part.push('\n');
    }
    (prose, inside)
}

/// Where the links of a text lead.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The headings of a page, with the number of their level.
fn headings(page: &str) -> Vec<(usize, String)> {
    let text = prose(page);
    let of_line = |line: &str| {
        let title = line.trim_start_matches('#');
        let level = line.len() - title.len();
        title.strip_prefix(' ').filter(|_| level > 0).map(|title| (level, title.to_owned()))
    };
    text.lines().filter_map(of_line).collect()
}

/// What a link to a heading has behind the `#`.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The comments of a Rust file; lines that follow each other are one line.
fn comments(text: &str) -> String {
    let mut comments = String::new();
    for line in text.lines() {
        let comment = line.trim_start().strip_prefix("//");
        match comment.map(|line| line.trim_start_matches(['/', '!']).trim()) {
            Some(line) => comments.extend([line, " "]),
            None => comments.push('\n'),
        }
    }
    comments
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for file in documents() {
        let folder = root().join(&file).parent().unwrap().to_owned();
        let text = prose(&read(&file));
        for target in links(&text) {
            let path = target.split('#').next().unwrap();
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !path.is_empty() && !folder.join(path).exists() {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn links_to_headings_find_one() {
    let mut broken = Vec::new();
    for file in documents() {
        let folder = file.parent().unwrap();
        let text = prose(&read(&file));
        for target in links(&text).filter(|target| !target.contains("://")) {
            let Some((path, at)) = target.split_once('#') else { continue };
            let page = if path.is_empty() { file.clone() } else { folder.join(path) };
            if !headings(&read(page)).iter().any(|(_, heading)| anchor(heading) == at) {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links to no heading:\n{}", broken.join("\n"));
}

#[test]
fn the_contents_of_the_semantics_are_complete() {
    let page = read("docs/semantics.md");
    let contents =
        page.split("## Contents").nth(1).expect("contents").split("\n## ").next().unwrap();
    let listed: Vec<&str> = contents.lines().filter(|line| !line.is_empty()).collect();
    let expected: Vec<String> = headings(&page)
        .iter()
        .filter(|(level, heading)| [2, 3].contains(level) && heading != "Contents")
        .map(|(level, heading)| {
            format!("{}- [{heading}](#{})", "  ".repeat(level - 2), anchor(heading))
        })
        .collect();
    assert_eq!(listed, expected);
}

/// A comment cites a page by a heading, in quotes behind the page's name and a comma, and no text that
/// is not here by a letter and a number.
#[test]
fn citations_in_comments_name_headings() {
    let mut cited = 0;
    let mut wrong = Vec::new();
    for file in tracked(&["*.rs"]) {
        let text = comments(&read(&file));
        let parts: Vec<&str> = text.split(".md, \"").collect();
        for pair in parts.windows(2) {
            let of_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_');
            let page = format!("{}.md", pair[0].rsplit(|c| !of_path(c)).next().unwrap());
            let name = pair[1].split('"').next().unwrap();
            if !headings(&read(&page)).iter().any(|(_, heading)| heading == name) {
                wrong.push(format!("{}: {page} has no heading \"{name}\"", file.display()));
            }
            cited += usize::from(page == "docs/semantics.md");
        }
        for rest in text.split("spec ").skip(1).chain(text.split("Spec ").skip(1)) {
            let mut bytes = rest.bytes();
            let letter = matches!(bytes.next(), Some(b'A'..=b'F'));
            if letter && matches!(bytes.next(), Some(b'0'..=b'9' | b'-')) {
                let number = rest.split(' ').next().unwrap();
                wrong.push(format!("{}: `{number}` of no page", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "comments cite what is not here:\n{}", wrong.join("\n"));
    assert!(cited >= 40, "only {cited} citations of docs/semantics.md");
}

#[test]
fn the_index_has_every_page() {
    let index = read("docs/README.md");
    let pages = documents();
    let missing: Vec<_> = pages
        .iter()
        .filter_map(|page| page.strip_prefix("docs").ok())
        .map(|page| page.display().to_string())
        // The pages of the command have an index of their own.
        .filter(|page| page != "README.md" && (!page.contains('/') || page == "cli/README.md"))
        .filter(|page| !index.contains(&format!("]({page})")))
        .collect();
    assert!(missing.is_empty(), "docs/README.md has no link to {missing:?}");
    let verbs = read("docs/cli/README.md");
    let in_index = |page: &Path| verbs.contains(&format!("({})", page.display()));
    let hidden: Vec<_> = pages
        .iter()
        .filter_map(|page| page.strip_prefix("docs/cli").ok())
        .filter(|page| *page != Path::new("README.md") && !in_index(page))
        .collect();
    assert!(hidden.is_empty(), "docs/cli/README.md has no link to {hidden:?}");
}

/// The tests that hold what the security model says.
#[test]
fn tests_that_the_security_model_names_exist() {
    let page = read("docs/security-model.md");
    let table = page.split("| held by, in tests/tests |").nth(1).expect("the table of attacks");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut seen = 0;
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names.into_iter().filter(|name| !name.starts_with("make ")) {
            let mut places = ["logic", "vectors", "e2e"]
                .map(|level| format!("tests/tests/{level}/{name}.rs"))
                .into_iter();
            assert!(places.any(|place| root().join(place).exists()), "no test {name}");
            seen += 1;
        }
    }
    assert!(seen >= 12, "only {seen} tests");
}

/// What the matrix says is tested is what the Makefile and the lock files run.
#[test]
fn the_version_matrix_is_true() {
    let page = read("docs/operations.md");
    let matrix = page.split("## Version matrix").nth(1).expect("a matrix");
    let value = |file: &str, start: &str| {
        let text = read(file);
        let line = text.lines().find_map(|line| line.strip_prefix(start).map(ToOwned::to_owned));
        line.unwrap_or_else(|| panic!("{file} has no `{start}`")).trim_matches('"').to_owned()
    };
    // Of the models' version the first two numbers are Istio's.
    let models = value("tools/istio-models.lock", "cloudcoil-models-istio==");
    let istio: Vec<&str> = models.split('.').take(2).collect();
    for (row, version) in [
        ("| Envoy, tested |", value("Makefile", "ENVOY_VERSION := ")),
        ("| Envoy, tested |", value("Makefile", "ENVOY_OLDEST_VERSION := ")),
        ("| Istio, resources |", istio.join(".")),
        ("| Prometheus |", value("Makefile", "PROMETHEUS_VERSION := ")),
        ("| Rust, to build it |", value("rust-toolchain.toml", "channel = ")),
    ] {
        let line = matrix.lines().find(|line| line.starts_with(row)).expect(row);
        assert!(line.contains(&version), "not {version}: {line}");
    }
    for (file, start) in [
        ("envoy/docker-compose.yaml", "    image: envoyproxy/envoy:v${ENVOY_VERSION:-"),
        ("envoy/docker-compose.yaml", "    image: prom/prometheus:v${PROMETHEUS_VERSION:-"),
        ("envoy/story.docker-compose.yaml", "  image: envoyproxy/envoy:v${ENVOY_VERSION:-"),
    ] {
        let version = value(file, start);
        assert!(matrix.contains(version.trim_end_matches('}')), "{file}: {version}");
    }
}

/// A path in backticks that begins with a folder of the project.
#[test]
fn paths_in_backticks_exist() {
    let folders = [
        "src/",
        "cli/",
        "demo/",
        "docs/",
        "envoy/",
        "istio/",
        "observability/",
        "tests/",
        "tools/",
    ];
    let mut broken = Vec::new();
    for file in documents() {
        let text = prose(&read(&file));
        for word in text.split('`').skip(1).step_by(2) {
            let plain = word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'));
            if plain && folders.iter().any(|f| word.starts_with(f)) && !root().join(word).exists() {
                broken.push(format!("{}: {word}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "paths of nothing:\n{}", broken.join("\n"));
}

fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap_or_else(|e| panic!("{e}:\n{text}"))
}

fn assert_accepted(what: &str, configuration: &Value) {
    if let Err(problems) = load::from_value(configuration) {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{what}:\n{}", problems.join("\n"));
    }
}

#[test]
fn configurations_of_the_readme_are_accepted() {
    let blocks = blocks(&read("README.md"), "yaml");
    assert!(blocks.len() >= 2, "a WasmPlugin and an Envoy filter");
    for block in blocks {
        let value = yaml(&block);
        if value["kind"] == "WasmPlugin" {
            assert_accepted(&block, &value["spec"]["pluginConfig"]);
        } else {
            let text = value["typed_config"]["config"]["configuration"]["value"].as_str();
            let configuration = serde_json::from_str(text.expect("a StringValue")).expect(&block);
            assert_accepted(&block, &configuration);
        }
    }
}

/// The pluginConfig that a YAML document is, or holds.
fn configuration(document: &Value) -> Option<&Value> {
    let fields = ["jwtRules", "authorizationPolicies"];
    // RequestAuthentication has them too, under `spec`.
    if fields.iter().any(|field| !document[field].is_null()) {
        return Some(document);
    }
    document.pointer(usher_testkit::istio::plugin_config_at(document)?)
}

/// Every pluginConfig in a YAML block of the documents. Those of the reference have a test of their own:
/// `configuration_reference.rs`.
#[test]
fn configurations_of_the_documents_are_accepted() {
    let mut seen = 0;
    for file in documents() {
        let reference = file == Path::new("docs/configuration.md");
        if !file.starts_with("docs") || reference {
            continue;
        }
        for block in blocks(&read(&file), "yaml") {
            for document in usher_testkit::istio::documents(&block) {
                if let Some(configuration) = configuration(&document) {
                    assert_accepted(&format!("{}:\n{block}", file.display()), configuration);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen >= 10, "only {seen} configurations");
}

#[test]
fn the_decision_log_of_the_guide_is_accepted() {
    let blocks = blocks(&read("docs/observability.md"), "yaml");
    let log = blocks.iter().find(|block| block.starts_with("decisionLog:")).expect("an example");
    let mut configuration = yaml(log);
    configuration["authorizationPolicies"] = serde_json::json!([{ "name": "any", "rules": [{}] }]);
    assert_accepted(log, &configuration);
    for block in blocks {
        // Several documents in one, and parts of a configuration: YAML all the same.
        for document in block.split("\n---\n") {
            yaml(document);
        }
    }
}

#[test]
fn the_table_of_the_readme_is_the_demos() {
    let readme = read("README.md");
    let issuer = usher_demo::issuer::Issuer::new("http://issuer.example").unwrap();
    let rows = usher_demo::table::rows(&issuer).unwrap();
    let printed = readme.lines().skip_while(|line| !line.starts_with("------")).skip(1);
    let printed: Vec<&str> = printed.take_while(|line| !line.starts_with("```")).collect();
    assert_eq!(printed.len(), rows.len(), "rows of the README's table");
    for (line, row) in printed.iter().zip(&rows) {
        let told = line.starts_with(row.sent)
            && line.contains(&format!("  {}  ", row.status))
            && line.ends_with(row.reason);
        assert!(told, "README: {line}\ndemo:   {} {} {}", row.sent, row.status, row.reason);
    }
}

/// After a fault the module is started again, by every configuration that is shipped or shown.
#[test]
fn shipped_configurations_reload_a_failed_module() {
    let mut seen = 0;
    let mut check = |place: &str, text: &str| {
        let words = |line: &str| {
            let (name, value) = line.trim().trim_start_matches("- ").split_once(": ")?;
            ["failStrategy", "failure_policy"].contains(&name).then(|| value.trim().to_owned())
        };
        let found: Vec<String> = text.lines().filter_map(words).collect();
        assert!(found.iter().all(|word| word == "FAIL_RELOAD"), "{place}: {found:?}");
        // Without a word it would be FAIL_CLOSED. A list of `type_urls` configures no filter.
        let filter = "\"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
        assert!(found.len() >= text.matches(filter).count(), "{place}: a filter without a word");
        seen += found.len();
    };
    for file in documents() {
        check(&file.display().to_string(), &split(&read(&file)).1);
    }
    for file in tracked(&["envoy/*.yaml", "istio/*.yaml"]) {
        check(&file.display().to_string(), &read(&file));
    }
    assert!(seen >= 15, "only {seen} configurations");
}
