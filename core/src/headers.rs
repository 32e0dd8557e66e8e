//! The mutations of a request's headers.

use std::rc::Rc;

use crate::hash::FastSet;
use crate::lookup::Lookup;
use crate::request::Request;

/// The mutations of a request's headers. Names are in lower case and in one of the lists only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMutations {
    /// Headers to remove, with all their lines.
    pub remove: Vec<Vec<u8>>,
    /// Headers whose lines are replaced by these lines (at least one).
    pub set: Lines,
}

/// Headers by lower-case name, each with its lines. Shared, since each request with the same token sets the same.
pub type Lines = Vec<(Rc<[u8]>, Rc<[Vec<u8>]>)>;

/// The headers for one verified token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emitted {
    /// The lines, by name.
    pub lines: Lines,
    /// Headers that are not emitted, because `raw` cannot write the claim.
    pub withheld: Vec<String>,
}

impl HeaderMutations {
    /// The removal of these headers, without repeated names.
    pub fn removing(names: &[impl AsRef<[u8]>]) -> Self {
        let remove = names.iter().map(|name| name.as_ref().to_vec()).collect();
        Self { remove, set: Lines::default() }
    }

    /// Replaces all lines of a header by one.
    pub fn set(&mut self, name: &[u8], value: Vec<u8>) {
        self.set_lines(name.into(), [value].into());
    }

    /// Replaces all lines of a header; an empty list removes it.
    pub fn set_lines(&mut self, name: Rc<[u8]>, lines: Rc<[Vec<u8>]>) {
        if lines.is_empty() {
            return self.remove(&name);
        }
        self.remove.retain(|n| **n != *name);
        match self.set.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = lines,
            None => self.set.push((name, lines)),
        }
    }

    /// Whether a header is replaced.
    pub fn sets(&self, name: &[u8]) -> bool {
        self.set.iter().any(|(n, _)| **n == *name)
    }

    /// Adds the mutations of `other`, which win for a header that both change.
    pub fn add(&mut self, other: Self) {
        for name in other.remove {
            self.remove(&name);
        }
        self.set_all(&other.set);
    }

    /// Replaces all lines of these headers, without repeated names.
    pub fn set_all(&mut self, headers: &Lines) {
        let names = Lookup::of(headers.iter().map(|(name, _)| &**name));
        self.remove.retain(|name| !names.has(name));
        self.set.retain(|(name, _)| !names.has(name));
        self.set.extend(headers.iter().cloned());
    }

    /// Removes a header with all its lines.
    pub fn remove(&mut self, name: &[u8]) {
        self.set.retain(|(n, _)| **n != *name);
        if !self.remove.iter().any(|n| n == name) {
            self.remove.push(name.to_vec());
        }
    }

    /// Whether the route may be another one after the mutations: they set a pseudo header, or touch one that
    /// `is_emitted` says Usher emits.
    pub fn may_change_route(&self, is_emitted: impl Fn(&[u8]) -> bool) -> bool {
        let routes = |name: &[u8]| name.starts_with(b":") || is_emitted(name);
        self.set.iter().any(|(name, _)| routes(name)) || self.remove.iter().any(|name| routes(name))
    }

    /// The lines that a header has after the mutations so far.
    pub fn lines<'e>(
        &'e self,
        request: &'e Request,
        name: &'e [u8],
    ) -> impl Iterator<Item = &'e [u8]> {
        let removed = self.remove.iter().any(|n| n == name);
        let set = self.set.iter().find(|(n, _)| **n == *name);
        let sent = (!removed && set.is_none()).then(|| {
            let lines = request.headers.iter().filter(move |(n, _)| n == name);
            lines.map(|(_, line)| line.as_slice())
        });
        let set = set.into_iter().flat_map(|(_, lines)| lines.iter().map(Vec::as_slice));
        set.chain(sent.into_iter().flatten())
    }

    /// The request after the mutations.
    pub fn applied(&self, request: &Request) -> Request {
        let removed = self.remove.iter().map(Vec::as_slice);
        let names = Lookup::of(removed.chain(self.set.iter().map(|(name, _)| &**name)));
        let kept = request.headers.iter().filter(|(name, _)| !names.has(name));
        let mut edited = Request {
            headers: kept.cloned().collect(),
            connection: request.connection.clone(),
            end_of_stream: request.end_of_stream,
        };
        for (name, lines) in &self.set {
            edited.headers.extend(lines.iter().map(|line| (name.to_vec(), line.clone())));
        }
        edited
    }
}

/// The one spelling for all names that an application may take for the same: lower case, and `-` for every byte that
/// is not a letter or digit. `User_Info`, `user.info` and `User-Info` are one variable to CGI and WSGI, which turn
/// every other byte into `_`.
pub fn fold(name: &[u8]) -> Vec<u8> {
    name.iter()
        .map(|b| if b.is_ascii_alphanumeric() { b.to_ascii_lowercase() } else { b'-' })
        .collect()
}

/// These names, folded.
pub fn folded<'n>(names: impl Iterator<Item = &'n str>) -> FastSet<Vec<u8>> {
    names.map(|name| fold(name.as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_follow_the_path_the_authority_and_emitted_headers() {
        let emitted = |name: &[u8]| name == b"user-info";
        for (name, expected) in [
            (&b":path"[..], true),
            (b":authority", true),
            (b"user-info", true),
            (b"authorization", false),
            (b"cookie", false),
        ] {
            let mut mutations = HeaderMutations::default();
            assert!(!mutations.may_change_route(emitted), "nothing is edited");
            mutations.set(name, b"x".to_vec());
            assert_eq!(
                mutations.may_change_route(emitted),
                expected,
                "set {}",
                name.escape_ascii()
            );
            mutations.remove(name);
            assert_eq!(
                mutations.may_change_route(emitted),
                expected,
                "remove {}",
                name.escape_ascii()
            );
        }
    }
}
