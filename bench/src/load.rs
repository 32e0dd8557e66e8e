//! The load: requests over kept-alive connections, one at a time on each. By hand: a client library would be a part of what
//! is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Connections at a time: enough that the worker always finds something to do when it looks.
const CONNECTIONS: usize = 16;

/// The request for a token, or for none.
pub(crate) fn request(path: &str, token: Option<&str>) -> Vec<u8> {
    let mut text = format!("GET {path} HTTP/1.1\r\nhost: service.example\r\n");
    // What a browser or a service mesh sends along.
    text.push_str("user-agent: usher-bench\r\naccept: */*\r\nx-request-id: ");
    text.push_str("4b6a2f0e-8c1d-4f7e-9a55-0d3c5c1e7f21\r\nx-forwarded-proto: http\r\n");
    if let Some(token) = token {
        text.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Sends `count` requests, the next of `requests` each time; how long each took. Every response must
/// have `status`.
pub(crate) async fn run(
    address: SocketAddr,
    requests: &Arc<Vec<Vec<u8>>>,
    count: usize,
    status: u16,
) -> Result<Vec<Duration>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS.min(count) {
        let (requests, next) = (Arc::clone(requests), Arc::clone(&next));
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, anyhow::Error>(times);
                }
                let begin = Instant::now();
                let (got, _) = connection.send(&requests[number % requests.len()]).await?;
                times.push(begin.elapsed());
                ensure!(got == status, "expected status {status}, found {got}");
            }
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(times) = tasks.join_next().await {
        all.extend(times??);
    }
    Ok(all)
}

/// One HTTP/1.1 connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request; the status and the head of the response.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<(u16, String)> {
        self.stream.write_all(request).await?;
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.context("a response with its length")?.parse()?;
                let whole = end + 4 + length;
                while self.buffer.len() < whole {
                    self.more().await?;
                }
                self.buffer.drain(..whole);
                let status = head.split(' ').nth(1).context("a status line")?.parse()?;
                return Ok((status, head));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<()> {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece).await? {
            0 => bail!("Envoy closed the connection"),
            size => self.buffer.extend_from_slice(&piece[..size]),
        }
        Ok(())
    }
}
