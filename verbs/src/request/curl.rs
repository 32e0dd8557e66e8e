//! A curl command, as pasted from a terminal or a browser's tools -> the request that it would send.
//!
//! Only the parts of the request are read; an unknown option is refused, since it is unclear whether
//! the next word belongs to it.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Line, header, shell};

/// Options without an argument that have no effect here.
const PLAIN: [&str; 27] = [
    "--compressed",
    "--fail",
    "--fail-with-body",
    "--globoff",
    "--http1.0",
    "--http1.1",
    "--http2",
    "--http2-prior-knowledge",
    "--http3",
    "--include",
    "--insecure",
    "--ipv4",
    "--ipv6",
    "--location",
    "--no-buffer",
    "--no-progress-meter",
    "--path-as-is",
    "--remote-name",
    "--show-error",
    "--silent",
    "--tcp-nodelay",
    "--tlsv1.2",
    "--tlsv1.3",
    "--trace-time",
    "--verbose",
    "--styled-output",
    "--raw",
];

/// Options with an argument that have no effect here.
const IGNORED: [&str; 15] = [
    "--cacert",
    "--cert",
    "--connect-timeout",
    "--connect-to",
    "--cookie-jar",
    "--dump-header",
    "--key",
    "--limit-rate",
    "--max-time",
    "--noproxy",
    "--output",
    "--proxy",
    "--resolve",
    "--retry",
    "--write-out",
];

/// Short options and the long ones that they stand for.
const SHORT: [(char, &str); 28] = [
    ('0', "--http1.0"),
    ('4', "--ipv4"),
    ('6', "--ipv6"),
    ('A', "--user-agent"),
    ('D', "--dump-header"),
    ('E', "--cert"),
    ('G', "--get"),
    ('H', "--header"),
    ('I', "--head"),
    ('L', "--location"),
    ('N', "--no-buffer"),
    ('O', "--remote-name"),
    ('S', "--show-error"),
    ('X', "--request"),
    ('b', "--cookie"),
    ('c', "--cookie-jar"),
    ('d', "--data"),
    ('e', "--referer"),
    ('f', "--fail"),
    ('g', "--globoff"),
    ('i', "--include"),
    ('k', "--insecure"),
    ('m', "--max-time"),
    ('o', "--output"),
    ('s', "--silent"),
    ('u', "--user"),
    ('v', "--verbose"),
    ('w', "--write-out"),
];

/// Options whose argument is a body: the filter does not read it.
const BODY: [&str; 7] = [
    "--data",
    "--data-ascii",
    "--data-binary",
    "--data-raw",
    "--data-urlencode",
    "--form",
    "--json",
];

/// The values of the options.
#[derive(Debug, Default)]
struct Command {
    url: Option<String>,
    method: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<String>,
    get: bool,
    head: bool,
}

/// The request of a command.
///
/// # Errors
/// Not a curl command with one URL, or an option that is not known.
pub fn line(text: &str) -> anyhow::Result<Line> {
    let all = shell::words(text)?;
    let mut words = all.into_iter();
    match words.next() {
        Some(word) if word == "curl" || word.ends_with("/curl") => {}
        Some(word) => bail!("expected a curl command, found `{word}`"),
        None => bail!("expected a curl command, found nothing"),
    }
    let mut command = Command::default();
    while let Some(word) = words.next() {
        command.take(&word, &mut words)?;
    }
    command.line()
}

impl Command {
    fn take(&mut self, word: &str, words: &mut impl Iterator<Item = String>) -> anyhow::Result<()> {
        if word.starts_with("--") {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word, None),
            };
            return self.option(name, value, words);
        }
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            return self.set_url(word.to_owned());
        };
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            let known = SHORT.iter().find(|(short, _)| *short == letter);
            let Some((_, name)) = known else {
                bail!("the option `-{letter}` of curl is not known here; leave it out");
            };
            if PLAIN.contains(name) || matches!(*name, "--get" | "--head") {
                self.option(name, None, words)?;
                continue;
            }
            // `-XPOST`: the rest of the word is the argument.
            let attached = Some(rest.as_str().to_owned()).filter(|text| !text.is_empty());
            return self.option(name, attached, words);
        }
        Ok(())
    }

    fn option(
        &mut self,
        name: &str,
        value: Option<String>,
        words: &mut impl Iterator<Item = String>,
    ) -> anyhow::Result<()> {
        match name {
            "--get" => self.get = true,
            "--head" => self.head = true,
            name if PLAIN.contains(&name) => {}
            name => {
                let value = value.or_else(|| words.next());
                let value = value.with_context(|| format!("the option `{name}` ends too soon"))?;
                self.argument(name, value)?;
            }
        }
        Ok(())
    }

    fn argument(&mut self, name: &str, value: String) -> anyhow::Result<()> {
        let mut add = |header: &str, value: String| self.headers.push((header.to_owned(), value));
        match name {
            "--url" => self.set_url(value)?,
            "--request" => self.method = Some(value),
            // `name;` is a header with no value, `name:` removes one that curl would send.
            "--header" if value.ends_with(';') && !value.contains(':') => {
                add(value.trim_end_matches(';'), String::new());
            }
            "--header" if value.trim_end().ends_with(':') => {}
            "--header" => self.headers.push(header(&value)?),
            "--user-agent" => add("user-agent", value),
            "--referer" => add("referer", value),
            "--cookie" if value.contains('=') => add("cookie", value),
            "--cookie" => bail!("a file of cookies (`{value}`) is not read; give `name=value`"),
            "--oauth2-bearer" => add("authorization", format!("Bearer {value}")),
            "--user" => add("authorization", format!("Basic {}", STANDARD.encode(value))),
            name if BODY.contains(&name) => {
                if name == "--json" {
                    add("content-type", "application/json".to_owned());
                }
                self.body.push(value);
            }
            name if IGNORED.contains(&name) => {}
            name => bail!("the option `{name}` of curl is not known here; leave it out"),
        }
        Ok(())
    }

    fn set_url(&mut self, url: String) -> anyhow::Result<()> {
        if let Some(first) = self.url.replace(url) {
            bail!("expected one URL, found `{first}` and another");
        }
        Ok(())
    }

    fn line(self) -> anyhow::Result<Line> {
        let url = self.url.context("expected a URL, found none")?;
        let (tls, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, _)) => bail!("expected an http or https URL, found `{scheme}`"),
            None => (false, url.as_str()),
        };
        // RFC 3986 section 3: the authority ends at the first of these; a fragment is not sent.
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let mut path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if self.get && !self.body.is_empty() {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&self.body.join("&"));
        }
        let method = match (self.method, self.head, self.body.is_empty() || self.get) {
            (Some(method), _, _) => method,
            (None, true, _) => "HEAD".to_owned(),
            (None, false, true) => "GET".to_owned(),
            (None, false, false) => "POST".to_owned(),
        };
        let has_body = !self.body.is_empty() && !self.get;
        // A `host` header takes precedence over the URL.
        let named = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        Ok(Line {
            method,
            path,
            authority: (!named).then(|| authority.to_owned()),
            headers: Some(self.headers),
            body: Some(has_body),
            tls: Some(tls),
            ..Line::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_commands_are_read() {
        for (text, expected) in [
            ("curl http://a.example", "GET / Some(\"a.example\") []"),
            (
                "$ curl -v -H 'Authorization: Bearer T' https://a.example:8443/x?y=1#z",
                "GET /x?y=1 Some(\"a.example:8443\") [(\"Authorization\", \"Bearer T\")]",
            ),
            ("curl -sSXPOST a.example/x", "POST /x Some(\"a.example\") []"),
            ("curl -d a=1 -d b=2 a/x", "POST /x Some(\"a\") []"),
            ("curl -G -d a=1 -d b=2 a/x", "GET /x?a=1&b=2 Some(\"a\") []"),
            ("curl -I --url a", "HEAD / Some(\"a\") []"),
            (
                "curl 'a/x' \\\n  --header=x-a:1 \\\n  -b 's=1' --compressed",
                "GET /x Some(\"a\") [(\"x-a\", \"1\"), (\"cookie\", \"s=1\")]",
            ),
            ("curl -H 'Host: b' http://u:p@a", "GET / None [(\"Host\", \"b\")]"),
            (
                "/usr/bin/curl --oauth2-bearer T -u a:b a",
                "GET / Some(\"a\") [(\"authorization\", \"Bearer T\"), \
                 (\"authorization\", \"Basic YTpi\")]",
            ),
        ] {
            let line = line(text).unwrap();
            let headers = line.headers.unwrap();
            let found = format!("{} {} {:?} {:?}", line.method, line.path, line.authority, headers);
            assert_eq!(found, expected, "{text}");
            assert_eq!(line.body, Some(text.contains(" -d ") && !text.contains(" -G ")), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, problem) in [
            ("", "expected a curl command, found nothing"),
            ("wget a", "expected a curl command, found `wget`"),
            ("curl -H 'a", "expected a curl command, found a quote that does not end"),
            (
                "curl --frobnicate a",
                "the option `--frobnicate` of curl is not known here; leave it out",
            ),
            ("curl -Z a", "the option `-Z` of curl is not known here; leave it out"),
            ("curl a b", "expected one URL, found `a` and another"),
            ("curl -X", "the option `--request` ends too soon"),
            ("curl ftp://a", "expected an http or https URL, found `ftp`"),
            ("curl -s", "expected a URL, found none"),
        ] {
            assert_eq!(line(text).unwrap_err().to_string(), problem, "{text}");
        }
    }
}
