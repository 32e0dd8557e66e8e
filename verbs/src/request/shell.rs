//! The words of one command as a POSIX shell and bash would split it: quotes, `$'..'`, and what ends a command. What a shell
//! would expand is refused, since only it knows the value.

use std::iter::Peekable;
use std::str::Chars;

use anyhow::{Context as _, bail};
use shlex::Shlex;

/// The words of the first command in a text.
///
/// # Errors
/// A quote that does not end, a variable or a command substitution, or another shell's form.
pub(super) fn words(text: &str) -> anyhow::Result<Vec<String>> {
    if text.contains("^\"") || text.contains("^\n") || text.contains("^\r\n") {
        bail!("this is written for Windows' cmd (`^`): copy the request as cURL for bash");
    }
    if text.contains("`\n") || text.contains("`\r\n") {
        bail!("this is written for PowerShell: copy the request as cURL for bash");
    }
    // A line that continues in the next one, as browsers write it.
    let text = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let plain = plain(text.trim())?;
    let mut words = Shlex::new(&plain);
    let all: Vec<String> = words.by_ref().collect();
    if words.had_error {
        bail!("expected a curl command, found a quote that does not end");
    }
    Ok(all)
}

/// The quotes that a character stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    None,
    Single,
    Double,
}

/// The first command, its `$'..'` as plain quotes.
fn plain(text: &str) -> anyhow::Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut quotes = Quotes::None;
    let mut before = ' ';
    // A prompt is not a variable.
    if text.starts_with("$ ") {
        chars.next();
    }
    while let Some(char) = chars.next() {
        let next = chars.peek().copied();
        match (quotes, char) {
            (Quotes::Single, '\'') => quotes = Quotes::None,
            (Quotes::Single, _) => {}
            (Quotes::None, '\'') => quotes = Quotes::Single,
            (_, '\\') => {
                out.push(char);
                out.extend(chars.next());
                before = 'x';
                continue;
            }
            (Quotes::None, '"') => quotes = Quotes::Double,
            (Quotes::Double, '"') => quotes = Quotes::None,
            (Quotes::None, '$') if next == Some('\'') => {
                chars.next();
                let text = ansi_c(&mut chars)?;
                out.push_str(&format!("'{}'", text.replace('\'', "'\\''")));
                before = 'x';
                continue;
            }
            (_, '$') if next.is_some_and(|next| is_of_a_name(next) || "{(".contains(next)) => {
                let name: String =
                    chars.take_while(|char| is_of_a_name(*char) || "{(".contains(*char)).collect();
                bail!(
                    "`${name}` would be expanded by a shell, and none is here: write its value, or give a token \
                     with `--token-file`"
                );
            }
            (_, '`') => bail!("a command in backticks is not run here: write its result"),
            // A pipe or another command behind.
            (Quotes::None, '|' | '\n') => break,
            (Quotes::None, ';' | '&')
                if next.is_none_or(|next| next.is_whitespace() || next == '&') =>
            {
                break;
            }
            (Quotes::None, '>' | '<') if before.is_whitespace() => break,
            (Quotes::None, '2') if before.is_whitespace() && next == Some('>') => break,
            _ => {}
        }
        out.push(char);
        before = char;
    }
    Ok(out)
}

fn is_of_a_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

/// The text of `$'..'`, up to its end (bash(1), "QUOTING").
fn ansi_c(chars: &mut Peekable<Chars<'_>>) -> anyhow::Result<String> {
    let mut text = String::new();
    loop {
        let char =
            chars.next().context("expected a curl command, found a quote that does not end")?;
        match char {
            '\'' => return Ok(text),
            '\\' => {}
            char => {
                text.push(char);
                continue;
            }
        }
        let escape =
            chars.next().context("expected a curl command, found a quote that does not end")?;
        let code = match escape {
            'a' => Some(7),
            'b' => Some(8),
            'e' | 'E' => Some(27),
            'f' => Some(12),
            'n' => Some(10),
            'r' => Some(13),
            't' => Some(9),
            'v' => Some(11),
            '\\' | '\'' | '"' | '?' => Some(u32::from(escape)),
            'x' => Some(number(chars, 0, 16, 2)),
            'u' => Some(utf_16(chars)?),
            'U' => Some(number(chars, 0, 16, 8)),
            '0'..='7' => {
                let first = escape.to_digit(8).unwrap_or_default();
                Some(number(chars, first, 8, 2))
            }
            _ => None,
        };
        match code.and_then(char::from_u32) {
            Some(char) => text.push(char),
            None => bail!("`\\{escape}` in `$'..'` is not read: write the character itself"),
        }
    }
}

/// A number of at most `most` further digits.
fn number(chars: &mut Peekable<Chars<'_>>, first: u32, radix: u32, most: usize) -> u32 {
    let mut number = first;
    for _ in 0..most {
        let Some(digit) = chars.peek().and_then(|char| char.to_digit(radix)) else { break };
        chars.next();
        number = number.saturating_mul(radix).saturating_add(digit);
    }
    number
}

/// The character of `\uHHHH`: browsers write one beyond the first plane as two halves (UTF-16).
fn utf_16(chars: &mut Peekable<Chars<'_>>) -> anyhow::Result<u32> {
    let first = number(chars, 0, 16, 4);
    if !matches!(first, 0xd800..=0xdbff) {
        return Ok(first);
    }
    let is_half = chars.next() == Some('\\') && chars.next() == Some('u');
    let second = if is_half { number(chars, 0, 16, 4) } else { 0 };
    let halves = [first, second].map(|half| u16::try_from(half).unwrap_or_default());
    match char::decode_utf16(halves).next() {
        Some(Ok(char)) => Ok(u32::from(char)),
        _ => bail!("`\\u{first:04x}` in `$'..'` is half of a character"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_bash_splits_them() {
        for (text, expected) in [
            ("curl 'a b' \"c d\" e\\ f", &["curl", "a b", "c d", "e f"][..]),
            ("$ curl a", &["curl", "a"]),
            ("curl -b $'tok=T; lb=a\\u0021b'", &["curl", "-b", "tok=T; lb=a!b"]),
            ("curl $'it\\'s \\x41\\101\\n\\ud83d\\ude00'", &["curl", "it's AA\n😀"]),
            ("curl pre$'x'post", &["curl", "prexpost"]),
            ("curl a | jq .", &["curl", "a"]),
            ("curl a|jq .", &["curl", "a"]),
            ("curl 'a|b' ; echo", &["curl", "a|b"]),
            ("curl a && echo", &["curl", "a"]),
            ("curl a > out", &["curl", "a"]),
            ("curl a 2>/dev/null", &["curl", "a"]),
            ("curl http://a/x?a=1&b=2", &["curl", "http://a/x?a=1&b=2"]),
            ("curl '$TOKEN' \"\\$x\" a$", &["curl", "$TOKEN", "$x", "a$"]),
            ("curl a \\\n  b\necho c", &["curl", "a", "b"]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_only_a_shell_knows_is_refused() {
        for (text, part) in [
            ("curl -H \"Authorization: Bearer $TOKEN\" a", "`$TOKEN`"),
            ("curl -H \"Authorization: Bearer ${TOKEN}\" a", "`${TOKEN`"),
            ("curl a/$(id)", "`$(id`"),
            ("curl a/`id`", "backticks"),
            ("curl ^\"http://a^\" ^\n -H ^\"b: c^\"", "cmd"),
            ("curl a `\n -H b", "PowerShell"),
            ("curl 'a", "does not end"),
            ("curl $'a", "does not end"),
            ("curl $'a\\", "does not end"),
            ("curl $'\\ud83d'", "half of a character"),
            ("curl $'\\cA'", "is not read"),
        ] {
            let error = words(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
