//! A client for Envoy's admin interface: one request on a connection, and what came back as text.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take. While it starts, Envoy accepts a connection and answers when it has compiled the module.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sends a request without a body; the status and the body of the response.
pub(crate) fn send(method: &str, address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    read(&bytes).ok_or_else(|| io::Error::other("no whole HTTP response"))
}

fn read(bytes: &[u8]) -> Option<(u16, String)> {
    let (head, body) = split(bytes, b"\r\n\r\n")?;
    let head = str::from_utf8(head).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let is_chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let body = if is_chunked { chunks(body)? } else { body.to_vec() };
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

/// RFC 9112 section 7.1.
fn chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (size, rest) = split(bytes, b"\r\n")?;
        let size = usize::from_str_radix(str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        bytes = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// What stands before and after the first `mark`.
fn split<'b>(bytes: &'b [u8], mark: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((bytes.get(..at)?, bytes.get(at.saturating_add(mark.len())..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read_with_and_without_chunks() {
        for (what, text, expected) in [
            (
                "chunks",
                "transfer-encoding: chunked\r\n\r\n3\r\na\r\n\r\n2\r\nbc\r\n0\r\n\r\n",
                Some("a\r\nbc"),
            ),
            ("a length", "content-length: 3\r\n\r\nLIV", Some("LIV")),
            ("no body", "content-length: 0\r\n\r\n", Some("")),
            ("cut off", "transfer-encoding: chunked\r\n\r\n3\r\na", None),
        ] {
            let found = read(format!("HTTP/1.1 200 OK\r\n{text}").as_bytes());
            assert_eq!(found, expected.map(|body| (200, body.to_owned())), "{what}");
        }
        assert_eq!(read(b"no"), None);
    }
}
