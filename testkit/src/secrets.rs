//! What no log may hold: the payload and the signature of each token that a test mints or sends.
//!
//! Each module of tests leaves its own in `target/envoys/<module>.secrets`, one token a line; when all are
//! done, `tests/tests/e2e/logged.rs` looks for them in every byte that was logged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::{mint, paths};

/// A piece this long can only be a token's. A shorter one may be in a log by chance.
const PIECE: usize = 16;

/// Notes a token that was made.
pub fn token(token: &str) {
    record(token.split('.').skip(1));
}

/// Notes every token in what a client sends, or a program prints.
pub fn sent(bytes: &[u8]) {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    for word in bytes.split(|byte| !is_of_token(byte)) {
        // A JSON object in base64url begins so; what stands before it is of another word.
        let start = word.windows(3).position(|begin| begin == b"eyJ");
        if let Some(text) = start.and_then(|start| str::from_utf8(&word[start..]).ok()) {
            token(text);
        }
    }
}

fn record<'t>(parts: impl Iterator<Item = &'t str>) {
    struct Known {
        file: File,
        tokens: HashSet<String>,
    }
    static KNOWN: Mutex<BTreeMap<String, Known>> = Mutex::new(BTreeMap::new());
    let parts: Vec<&str> = parts.filter(|part| part.len() >= PIECE).collect();
    let line = parts.join(" ");
    // A test that has failed with this lock held has failed anyway.
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let module = paths::tests_module();
    let known = known.entry(module.clone()).or_insert_with(|| {
        std::fs::create_dir_all(folder()).unwrap();
        let path = folder().join(format!("{module}.secrets"));
        // Modules of two packages may have one name.
        let file = File::options().append(true).create(true).open(path).unwrap();
        Known { file, tokens: HashSet::new() }
    });
    if !line.is_empty() && known.tokens.insert(line.clone()) {
        writeln!(known.file, "{line}").unwrap();
    }
}

/// Adds to the log `name` of this module of tests, for what keeps none itself.
pub fn log(name: &str, bytes: &[u8]) {
    let directory = folder().join(format!("{}-programs", paths::tests_module()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(format!("{name}.log"));
    File::options().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// Where Envoys leave their logs, and tests their secrets.
pub fn folder() -> PathBuf {
    paths::root().join("target/envoys")
}

/// Whether a piece is a token's alone: a signature of zeros has one character, and so have other texts.
fn is_telling(piece: &[u8]) -> bool {
    piece.iter().collect::<HashSet<_>>().len() > 4
}

/// The secrets of many tokens, to look for.
#[derive(Default)]
pub struct Secrets {
    /// How many tokens there are.
    pub tokens: usize,
    /// Where each piece is from. A stretch of a token that is not quite twice as long holds a whole one.
    pieces: HashMap<Vec<u8>, String>,
}

impl Secrets {
    /// Adds what [`token`] and [`sent`] have noted, a line for each token; `of` is whose they are.
    pub fn add(&mut self, of: &str, lines: &str) {
        for line in lines.lines() {
            self.tokens += 1;
            for part in line.split(' ') {
                let pieces = part.as_bytes().chunks_exact(PIECE).filter(|piece| is_telling(piece));
                self.pieces.extend(pieces.map(|piece| (piece.to_vec(), of.to_owned())));
            }
        }
    }

    /// Describes those that are in `text`.
    pub fn find(&self, text: &[u8]) -> Vec<String> {
        let private = mint::PRIVATE.as_bytes();
        let claims = text.windows(private.len()).filter(|window| *window == private);
        let pieces = text.windows(PIECE).filter_map(|window| {
            let of = self.pieces.get(window)?;
            Some(format!("`{}`, part of a token of {of}", window.escape_ascii()))
        });
        claims.map(|_| "a private claim".to_owned()).chain(pieces).collect()
    }
}

/// Every log below `folder`: those of Envoys, of their requests, and of other programs that were run.
pub fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            logs.extend(self::logs(&path));
        } else if path.extension().is_some_and(|extension| extension == "log") {
            logs.push(path);
        }
    }
    logs
}
