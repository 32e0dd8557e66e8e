//! Asks servers whether they are well: `usher-probe http://HOST:PORT/PATH..` ends with status 0 if each answers 200.
//!
//! It is the health check of the containers, whose images hold a server and nothing to ask it with.

use std::process::ExitCode;
use std::time::Duration;

use ureq::Agent;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    if urls.is_empty() {
        eprintln!("usage: usher-probe http://HOST:PORT/PATH..");
        return ExitCode::FAILURE;
    }
    for url in urls {
        match status(&url, PATIENCE) {
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

/// The status of the answer to a GET: of that server itself, past any proxy that the container is configured with.
fn status(url: &str, patience: Duration) -> Result<u16, ureq::Error> {
    let config = Agent::config_builder()
        .timeout_global(Some(patience))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .build();
    let response = config.new_agent().get(url).call()?;
    Ok(response.status().as_u16())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// A server that answers one request with `answer` and waits for the client to go; gives its URL.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/ready?x", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            assert_eq!(lines.next().unwrap().unwrap(), "GET /ready?x HTTP/1.1");
            stream.write_all(answer.as_bytes()).unwrap();
            lines.for_each(drop);
        });
        url
    }

    #[test]
    fn the_status_is_what_the_server_says() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.0 503 Service Unavailable\r\n\r\n", Some(503)),
            ("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\n\r\n", Some(302)),
            ("SSH-2.0-x\r\n", None),
        ] {
            assert_eq!(status(&server(answer), PATIENCE).ok(), expected, "{answer}");
        }
    }

    #[test]
    fn who_does_not_listen_is_not_well() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        assert!(status(&url, PATIENCE).is_err());
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let patience = Duration::from_millis(50);
        assert!(matches!(status(&server(""), patience), Err(ureq::Error::Timeout(_))));
    }
}
