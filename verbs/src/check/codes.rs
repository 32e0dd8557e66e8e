//! The kinds of warnings, by name; docs/cli/warnings.md has a section for each.

/// Every code, in alphabetical order.
pub const CODES: [&str; 47] = [
    "address-at-waypoint",
    "allow-only-not",
    "certificate-ends",
    "claim-name",
    "client-address",
    "clock-skew",
    "deny-exact-path",
    "deny-needs-token",
    "deny-on-tcp",
    "deny-values-from-all",
    "dry-run",
    "either-is-enough",
    "empty-list",
    "exempt-suffix",
    "exempts-all",
    "field-ignored",
    "header-removed",
    "inner-star",
    "key-skipped",
    "keys-over-http",
    "keys-untried",
    "kid-twice",
    "long-lifetime",
    "long-max-stale",
    "missing-token",
    "never-expires",
    "never-matches",
    "no-alg",
    "no-api-version",
    "no-audiences",
    "no-configuration",
    "no-effect",
    "no-key",
    "no-kid",
    "no-normalization",
    "no-token-needed",
    "not-attached",
    "not-checked",
    "nothing-stripped",
    "private-key",
    "published-key",
    "same-name",
    "selects-all",
    "shadowed",
    "symmetric",
    "token-in-url",
    "unused-allow",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else {
                found.push(path);
            }
        }
    }

    /// What the code warns of, what this list has and what the page explains are the same.
    #[test]
    fn every_code_is_listed_and_explained() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut files = Vec::new();
        sources(&root.join("core/src"), &mut files);
        sources(&root.join("verbs/src"), &mut files);
        let mut used = BTreeSet::from(["unused-allow".to_owned()]);
        for file in files.into_iter().filter(|file| !file.ends_with("check/codes.rs")) {
            let text = std::fs::read_to_string(file).unwrap();
            for call in text.split(".warning(").skip(1) {
                let code =
                    call.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
                used.extend(code.map(|(code, _)| code.to_owned()));
            }
        }
        let listed: BTreeSet<String> = CODES.map(str::to_owned).into();
        assert_eq!(used, listed);
        assert!(CODES.is_sorted());
        let page = std::fs::read_to_string(root.join("docs/cli/warnings.md")).unwrap();
        let explained: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(explained, CODES);
    }
}
