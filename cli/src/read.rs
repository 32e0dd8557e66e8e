//! Files and standard input.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use usher_verbs::input::File;

/// The bytes of a file, or of standard input for `-`.
pub(crate) fn bytes(name: &str) -> anyhow::Result<Vec<u8>> {
    if name == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(name).with_context(|| format!("cannot read `{name}`"))
}

/// The text of a file, or of standard input for `-`.
pub(crate) fn text(name: &str) -> anyhow::Result<String> {
    String::from_utf8(bytes(name)?).with_context(|| format!("`{name}` is not UTF-8"))
}

/// A file for a verb, or standard input for `-`.
pub(crate) fn file(name: &str) -> anyhow::Result<File> {
    Ok(File { name: name.to_owned(), text: text(name)?, named: true })
}

/// The files that arguments name: a folder stands for every YAML and JSON file in it, in the order of their names.
///
/// # Errors
/// A folder that cannot be read, or holds no such file.
pub(crate) fn names(arguments: &[String]) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for argument in arguments {
        if argument == "-" || !Path::new(argument).is_dir() {
            names.push(argument.clone());
            continue;
        }
        let before = names.len();
        folder(Path::new(argument), &mut BTreeSet::new(), &mut names)?;
        ensure!(names.len() > before, "`{argument}` holds no YAML or JSON file");
    }
    Ok(names)
}

/// `seen`: the folders on the way, since links may lead round in a circle.
fn folder(
    path: &Path,
    seen: &mut BTreeSet<PathBuf>,
    names: &mut Vec<String>,
) -> anyhow::Result<()> {
    let cannot = || format!("cannot read `{}`", path.display());
    if !seen.insert(path.canonicalize().with_context(cannot)?) {
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(cannot)?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .with_context(cannot)?;
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let extension = path.extension().and_then(|extension| extension.to_str());
        let extension = extension.unwrap_or_default().to_ascii_lowercase();
        if hidden {
            continue;
        } else if path.is_dir() {
            folder(&path, seen, names)?;
        } else if matches!(extension.as_str(), "json" | "yaml" | "yml") {
            names.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// The lines of a file, or of standard input for `-`, one at a time.
pub(crate) fn lines(
    name: &str,
) -> anyhow::Result<Box<dyn Iterator<Item = std::io::Result<String>>>> {
    use std::io::{BufRead as _, BufReader};
    if name == "-" {
        return Ok(Box::new(std::io::stdin().lock().lines()));
    }
    let file = std::fs::File::open(name).with_context(|| format!("cannot read `{name}`"))?;
    Ok(Box::new(BufReader::new(file).lines()))
}
