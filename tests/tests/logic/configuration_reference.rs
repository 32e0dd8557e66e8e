//! docs/configuration.md against the parser: each field that it reads is documented there and no other,
//! each example is accepted, each wrong one answered in the very words.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use usher_core::codec::problems::SchemaField;
use usher_core::config;
use usher_testkit::verdict::problems;

const REFERENCE: &str = include_str!("../../../docs/configuration.md");

/// What stands under one heading.
struct Section {
    /// The field that it is about; empty for the whole configuration.
    field: String,
    text: String,
    examples: Vec<Example>,
}

/// A piece of YAML and what is said of it; nothing where it is good.
struct Example {
    configuration: Value,
    yaml: String,
    problems: Vec<String>,
}

fn sections() -> Vec<Section> {
    let mut sections = Vec::new();
    for part in REFERENCE.replace("\n### ", "\n## ").split("\n## ").skip(1) {
        let (heading, body) = part.split_once('\n').unwrap();
        let field = heading.strip_prefix('`').and_then(|h| h.strip_suffix('`')).unwrap_or_default();
        let mut pieces = body.split("```yaml\n");
        let mut text = pieces.next().unwrap().to_owned();
        let mut examples = Vec::new();
        for piece in pieces {
            let (block, rest) = piece.split_once("```").expect("a closed block");
            text.push_str(rest);
            examples.extend(self::examples(field, block));
        }
        sections.push(Section { field: field.to_owned(), text, examples });
    }
    sections
}

fn examples(field: &str, block: &str) -> Vec<Example> {
    let pieces = block.split("# wrong\n").enumerate();
    pieces
        .filter(|(_, piece)| !piece.trim().is_empty())
        .map(|(number, piece)| {
            let told = piece.lines().filter_map(|line| line.strip_prefix("#> "));
            let problems: Vec<String> = told.map(str::to_owned).collect();
            assert_eq!(problems.is_empty(), number == 0, "{field}: {piece}");
            let snippet =
                serde_yaml_ng::from_str(piece).unwrap_or_else(|e| panic!("{field}: {e}: {piece}"));
            let configuration = whole(field, snippet);
            Example { configuration, yaml: piece.to_owned(), problems }
        })
        .collect()
}

/// The smallest configuration, with the example where its field stands.
fn whole(field: &str, snippet: Map<String, Value>) -> Value {
    // A key without a signer: its private half was not kept.
    let mut rule = json!({
        "issuer": "https://idp.example.com",
        "jwks": { "keys": [{
            "kty": "EC", "crv": "P-256", "kid": "one",
            "x": "4v4G8c-8taf0kgMZ9bkp5tI8rYuHYgRzdApa3gVjxjg",
            "y": "dE3t6ipJGW1yWKSD1_rG13u0aeG806d0oS42aKAWPzo",
        }] },
    });
    if field.is_empty() {
        return Value::Object(snippet);
    }
    if field.starts_with("jwtRules[]") {
        let rule = rule.as_object_mut().unwrap();
        if snippet.contains_key("anyIssuer") {
            rule.remove("issuer");
        }
        rule.extend(snippet);
        return json!({ "jwtRules": [rule] });
    }
    let mut configuration = json!({ "jwtRules": [rule] });
    configuration.as_object_mut().unwrap().extend(snippet);
    configuration
}

/// Every field and every word that the parser asks for, in all good examples together.
fn schema_fields(sections: &[Section]) -> BTreeSet<SchemaField> {
    let good = sections.iter().flat_map(|section| &section.examples);
    let good = good.filter(|example| example.problems.is_empty());
    good.flat_map(|example| config::schema_fields(&example.configuration)).collect()
}

#[test]
fn each_example_is_accepted_and_each_wrong_one_is_answered_so() {
    let mut wrong = Vec::new();
    let mut counted = 0;
    for section in sections() {
        for example in &section.examples {
            counted += 1;
            let told = problems(&example.configuration);
            if told != example.problems {
                let told = told.join("\n#> ");
                wrong.push(format!("{}:\n{}is answered\n#> {told}", section.field, example.yaml));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(counted > 100, "only {counted} examples");
}

/// The JSON pointer of every value below this one.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (name, value) in below {
        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        pointers(value, &at, all);
        all.push(at);
    }
}

/// All that `from` has and `into` has not; of lists the first entries are one.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert_with(|| value.clone()), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => {
            if let (Some(into), Some(from)) = (into.first_mut(), from.first()) {
                merge(into, from);
            }
        }
        _ => {}
    }
}

/// A reader that gives up at a wrong value has not asked for the fields behind it, which would be unknown then.
#[test]
fn a_wrong_value_makes_no_other_field_unknown() {
    let sections = sections();
    let good = sections.iter().flat_map(|section| &section.examples);
    let good: Vec<_> =
        good.filter(|e| e.problems.is_empty()).map(|e| e.configuration.clone()).collect();
    // Every field in one configuration, which need not make sense: each is asked for.
    let everything = good.iter().fold(json!({}), |mut all, example| {
        merge(&mut all, example);
        all
    });
    let mut tried = 0;
    for configuration in good.iter().chain([&everything]) {
        let mut all = Vec::new();
        pointers(configuration, "", &mut all);
        for at in all {
            for wrong in [json!(1.5), json!({}), json!([]), json!(""), json!([1.5]), json!(null)] {
                let mut changed = configuration.clone();
                *changed.pointer_mut(&at).unwrap() = wrong.clone();
                tried += 1;
                for problem in problems(&changed) {
                    assert!(!problem.contains("unknown field"), "{at} is {wrong}: {problem}");
                }
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn each_field_is_told_and_no_other() {
    let sections = sections();
    let asked: BTreeSet<String> = schema_fields(&sections)
        .into_iter()
        .filter_map(|known| match known {
            SchemaField::Field(at, name) if at.is_empty() => Some(name.to_owned()),
            SchemaField::Field(at, name) => Some(format!("{at}.{name}")),
            SchemaField::Word(..) => None,
        })
        .collect();
    let headings = sections.iter().map(|section| section.field.clone()).filter(|f| !f.is_empty());
    // The fields of policies are in a table.
    let rows = REFERENCE.lines().filter_map(|line| {
        let cell = line.strip_prefix("| `authorizationPolicies")?;
        Some(format!("authorizationPolicies{}", cell.split_once('`')?.0))
    });
    let told: Vec<String> = headings.chain(rows).collect();
    let once: BTreeSet<String> = told.iter().cloned().collect();
    assert_eq!(once.len(), told.len(), "a field is told twice");
    let missing: Vec<_> = asked.difference(&once).collect();
    let stale: Vec<_> = once.difference(&asked).collect();
    assert!(missing.is_empty() && stale.is_empty(), "not told: {missing:#?}, no such: {stale:#?}");
}

#[test]
fn each_field_has_a_type_a_default_a_meaning_and_both_examples() {
    let sections = sections();
    let words: Vec<(String, String)> = schema_fields(&sections)
        .into_iter()
        .filter_map(|known| match known {
            SchemaField::Word(at, word) => Some((at, word)),
            SchemaField::Field(..) => None,
        })
        .collect();
    for Section { field, text, examples } in sections.iter().filter(|s| !s.field.is_empty()) {
        let mut paragraphs = text.trim().split("\n\n");
        let summary = paragraphs.next().unwrap();
        assert!(summary.starts_with("*Type:* ") && summary.contains(" *Default:* "), "{field}");
        let meaning = paragraphs.next().unwrap_or_default();
        assert!(meaning.len() > 10, "{field}: what does it mean?");
        let refused = meaning.contains("not supported in this version");
        let good = examples.iter().any(|e| e.problems.is_empty());
        assert_eq!(good, !refused, "{field}: a good example");
        assert!(examples.iter().any(|e| !e.problems.is_empty()), "{field}: no wrong example");
        // Every word that may stand there is named; of a list, at its elements.
        let at = |path: &str| path == field || path.strip_suffix("[]") == Some(field);
        for (_, word) in words.iter().filter(|(path, _)| at(path)) {
            assert!(summary.contains(&format!("`{word}`")), "{field}: `{word}` is not named");
        }
    }
}
