//! The words of the documents: a search for the word that Envoy, Istio or an RFC uses leads to what Usher does
//! about it. The prose of documents and comments is plain English.

use std::path::Path;

use crate::docs::{documents, read, tracked};

/// What readers search for: each is in a heading, or in the first sentence below one.
const SEARCHED: [&str; 40] = [
    "401",
    "403",
    "503",
    "access log",
    "ambient",
    "audience",
    "canary",
    "claim-based routing",
    "clock skew",
    "CORS preflight",
    "CPU",
    "cookie",
    "dry run",
    "DPoP",
    "EnvoyFilter",
    "fail open",
    "Firebase",
    "FIPS",
    "gateway",
    "header spoofing",
    "HBONE",
    "JWKS rotation",
    "Keycloak",
    "latency",
    "memory",
    "migration",
    "mTLS",
    "multi-tenant",
    "policy testing",
    "RBAC: access denied",
    "revocation",
    "rollback",
    "scopes",
    "SPIFFE",
    "token cache",
    "token exchange",
    "troubleshooting",
    "uninstall",
    "upgrade",
    "waypoint",
];

/// What plain English says otherwise, and how.
const RIDDLES: [(&str, &str); 5] = [
    ("anew", "again"),
    ("nobody", "no caller"),
    ("the way of", "how"),
    ("to be had", "available"),
    ("whatever", "any"),
];

/// The same for comments, in addition.
const RIDDLES_IN_COMMENTS: [(&str, &str); 16] = [
    ("anybody", "anyone"),
    ("are no", "are not"),
    ("are none", "are not"),
    ("as good as", "the same as"),
    ("at a glance", "quickly"),
    ("by and by", "later"),
    ("everybody", "anyone"),
    ("is no", "is not a"),
    ("is none", "is not a"),
    ("so many", "this many"),
    ("somebody", "a caller, an issuer, a worker"),
    ("tell", "report, distinguish"),
    ("tells", "reports, distinguishes"),
    ("told", "reported, distinguished"),
    ("whichever", "any"),
    ("whoever", "anyone who"),
];

/// What reads naturally although a riddle is in it.
const NATURAL: [&str; 8] = [
    "are no longer",
    "are no more than",
    "is no longer",
    "is no more than",
    "there are no",
    "there are none",
    "there is no",
    "there is none",
];

/// The sources whose comments are held to this.
const SOURCES: [&str; 1] = ["*.rs"];

/// The paragraphs of a page, each as one line. A heading is a paragraph; fenced code is left out.
fn paragraphs(page: &str) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    let mut fenced = false;
    for line in page.lines().map(str::trim) {
        let fence = line.starts_with("```");
        fenced ^= fence;
        let ends = fence || line.is_empty() || line.starts_with('#');
        if ends && !fenced {
            paragraphs.push(String::new());
        }
        if let (false, false, Some(paragraph)) = (fence, fenced, paragraphs.last_mut()) {
            paragraph.push_str(line);
            paragraph.push(if line.starts_with('#') { '\n' } else { ' ' });
        }
    }
    paragraphs.iter().flat_map(|text| text.split('\n')).map(|text| text.trim().to_owned()).collect()
}

/// The headings of a page, and the first sentence below each. A table has none, and under a field of the
/// configuration its type stands before it.
fn found_first(page: &str) -> Vec<String> {
    let paragraphs = paragraphs(page);
    let is_prose =
        |text: &&String| !text.is_empty() && !text.starts_with('|') && !text.starts_with("*Type:*");
    let mut first = Vec::new();
    let mut below_heading = false;
    for text in paragraphs.iter().filter(is_prose) {
        let is_heading = text.starts_with('#');
        if is_heading {
            first.push(text.clone());
        } else if below_heading {
            first.push(text.split(". ").next().unwrap_or_default().to_owned());
        }
        below_heading = is_heading;
    }
    first
}

/// Whether a text has a word, in any case and with any ending: `gateways`.
fn has(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.to_lowercase());
    text.match_indices(&word).any(|(at, _)| !text[..at].ends_with(char::is_alphanumeric))
}

/// The words of a page in lower case, each with the number of its line. Code is not among them: it quotes.
fn words(page: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    let (mut fenced, mut quoted) = (false, false);
    for (number, line) in (1..).zip(page.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        // A quotation may go over the end of a line, and not over that of a paragraph; nor may a phrase.
        if line.trim().is_empty() {
            quoted = false;
            words.push((number, String::new()));
        }
        for (part, text) in line.split('`').enumerate() {
            quoted ^= part > 0;
            if !fenced && !quoted {
                let parts =
                    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
                words.extend(parts.map(|word| (number, word.to_lowercase())));
            }
        }
    }
    words
}

/// The lines on which a phrase begins.
fn lines_of(phrase: &str, words: &[(usize, String)]) -> Vec<usize> {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    let is_phrase = |window: &&[(usize, String)]| {
        window.iter().map(|(_, word)| word.as_str()).eq(phrase.iter().copied())
    };
    words.windows(phrase.len()).filter(is_phrase).map(|window| window[0].0).collect()
}

/// The words without those of phrases that read naturally.
fn without_natural(words: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut kept = Vec::new();
    let mut rest = words;
    while let Some(((line, word), tail)) = rest.split_first() {
        let begins = |phrase: &&&str| {
            let phrase = phrase.split(' ');
            rest.len() >= phrase.clone().count()
                && phrase.zip(rest).all(|(part, (_, word))| part == word)
        };
        match NATURAL.iter().find(begins) {
            Some(phrase) => {
                // Keeps the words around it apart.
                kept.push((*line, String::new()));
                rest = &rest[phrase.split(' ').count()..];
            }
            None => {
                kept.push((*line, word.clone()));
                rest = tail;
            }
        }
    }
    kept
}

/// The comments of a Rust file, on their lines; code is left out. A literal may contain `//`.
fn comments(source: &str) -> String {
    let mut comments = String::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            let line = rest.lines().next().unwrap_or_default();
            comments.push_str(line.trim_start_matches(['/', '!']));
            line.len()
        } else {
            literal(rest).unwrap_or(first.len_utf8())
        };
        comments.extend(rest[..length].chars().filter(|c| *c == '\n'));
        rest = &rest[length..];
    }
    comments
}

/// The length of the literal that begins a text, if one does: a string, raw or not, or a quotation mark.
fn literal(text: &str) -> Option<usize> {
    if let Some(mark) = ["'\"'", "'\\\"'"].iter().find(|mark| text.starts_with(**mark)) {
        return Some(mark.len());
    }
    if let Some(raw) = text.strip_prefix('r') {
        let (hashes, body) = raw.split_at(raw.len() - raw.trim_start_matches('#').len());
        let end = format!("\"{hashes}");
        let length = body.strip_prefix('"')?.find(&end)?;
        return Some("r\"".len() + hashes.len() + length + end.len());
    }
    let mut escaped = false;
    let end = text.strip_prefix('"')?.find(|c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some(end + "\"\"".len())
}

/// The riddles in a file, each with its line and the plain English.
fn riddles<'r>(
    file: &Path,
    words: &[(usize, String)],
    riddles: impl IntoIterator<Item = &'r (&'r str, &'r str)>,
) -> Vec<String> {
    let of_one = |(riddle, plain): &(&str, &str)| {
        let lines = lines_of(riddle, words).into_iter();
        let found = |line| format!("{}:{line}: `{riddle}`; write `{plain}`", file.display());
        lines.map(found).collect::<Vec<_>>()
    };
    riddles.into_iter().flat_map(of_one).collect()
}

/// Not by the page on what Istio and Envoy do themselves.
#[test]
fn a_search_finds_the_words_of_the_field() {
    let about_usher = |file: &Path| {
        let root = file == Path::new("README.md") || file == Path::new("SECURITY.md");
        (root || file.starts_with("docs")) && file != Path::new("docs/semantics.md")
    };
    let pages = documents().into_iter().filter(|file| about_usher(file));
    let first: Vec<String> = pages.flat_map(|file| found_first(&read(file))).collect();
    let missing: Vec<&str> =
        SEARCHED.into_iter().filter(|word| !first.iter().any(|text| has(text, word))).collect();
    assert!(missing.is_empty(), "in no heading and no first sentence: {missing:?}");
}

#[test]
fn documents_speak_plain_english() {
    let found: Vec<String> =
        documents().iter().flat_map(|file| riddles(file, &words(&read(file)), &RIDDLES)).collect();
    assert!(found.is_empty(), "riddles:\n{}", found.join("\n"));
}

#[test]
fn comments_speak_plain_english() {
    let files = tracked(&SOURCES);
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let words = without_natural(&words(&comments(&read(file))));
            riddles(file, &words, RIDDLES.iter().chain(&RIDDLES_IN_COMMENTS))
        })
        .collect();
    assert!(files.len() > 200, "only {} files", files.len());
    assert!(found.is_empty(), "riddles:\n{}", found.join("\n"));
}

#[test]
fn a_riddle_is_found_over_two_lines_and_not_in_code() {
    let page = "It is not to\nbe had, nor `to be had`.\n\n```\nto be had\n```\n";
    assert_eq!(lines_of("to be had", &words(page)), [1]);
}

#[test]
fn a_riddle_is_found_in_comments_only() {
    let source = r##"
/// A wasp is no bee.
let wasp = "// is no bee" + r#"" // is no bee "#; // There is no bee. It is no
let mark = ['"', '\"'];
//! bee, and `is no bee`.
"##;
    let words = without_natural(&words(&comments(source)));
    assert_eq!(lines_of("is no", &words), [2, 3]);
    assert_eq!(lines_of("is no bee", &words), [2]);
}

#[test]
fn what_a_search_finds_first() {
    let page = "# One\nof two. Not this.\n\nNor this.\n\n## `two`\n\n*Type:* list.\n\nThis\none. Not this.\n";
    assert_eq!(found_first(page), ["# One", "of two", "## `two`", "This one"]);
    assert!(has("at Gateways", "gateway") && !has("2401", "401"));
}
