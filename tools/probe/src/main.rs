//! Asks servers whether they are well: `usher-probe http://HOST:PORT/PATH..` ends with status 0 if each answers 200.
//!
//! It is the health check of the containers, whose images hold a server and nothing to ask it with.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

/// How long a server may think about it.
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    if urls.is_empty() {
        eprintln!("usage: usher-probe http://HOST:PORT/PATH..");
        return ExitCode::FAILURE;
    }
    for url in urls {
        match status(&url) {
            Ok(200) => {}
            Ok(status) => {
                eprintln!("probe: {url} answers {status}");
                return ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("probe: {url}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// The status of the answer to a GET.
fn status(url: &str) -> Result<u16, String> {
    let rest = url.strip_prefix("http://").ok_or("not an http:// URL")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut addresses = authority.to_socket_addrs().map_err(|error| error.to_string())?;
    let address = addresses.next().ok_or("no address")?;
    let line = first_line(
        &address,
        &format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"),
    );
    let line = line.map_err(|error| error.to_string())?;
    // HTTP/1.1 200 OK
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| format!("no HTTP answer: {}", line.trim_end()))
}

fn first_line(address: &std::net::SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that answers one request with `answer`; gives its URL.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/ready?x", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked).unwrap();
            assert_eq!(asked, "GET /ready?x HTTP/1.1\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    #[test]
    fn the_status_is_what_the_server_says() {
        assert_eq!(status(&server("HTTP/1.1 200 OK\r\n\r\n")), Ok(200));
        assert_eq!(status(&server("HTTP/1.0 503 Service Unavailable\r\n\r\n")), Ok(503));
        assert!(status(&server("SSH-2.0-x\r\n")).is_err());
    }

    #[test]
    fn who_does_not_listen_is_not_well() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        assert!(status(&url).is_err());
        assert!(status("https://127.0.0.1/").is_err());
    }
}
