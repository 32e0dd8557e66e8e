//! Many requests at once: more than a thread each would bear.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::{Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use super::{Reply, Request};
use crate::RUNTIME;
use crate::client::http1::encode;
use crate::secrets;

/// In which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A connection each.
    Http1,
    /// This many on each connection.
    Http2(usize),
}

/// The outcome of one: its status and when it arrived, or what went wrong.
pub type Outcome = Result<(u16, Instant), String>;

/// Requests under way.
pub struct Crowd {
    members: Vec<JoinHandle<Outcome>>,
    connections: JoinSet<()>,
}

/// Generous: it is only waited for in vain when a test fails.
const PATIENCE: Duration = Duration::from_secs(120);

impl Crowd {
    /// Sends `requests` (without body) all at once.
    ///
    /// # Panics
    /// Where a connection cannot be made.
    pub fn send(address: SocketAddr, protocol: Protocol, requests: &[Request]) -> Self {
        let mut crowd = Self { members: Vec::new(), connections: JoinSet::new() };
        let size = match protocol {
            Protocol::Http1 => 1,
            Protocol::Http2(size) => size,
        };
        RUNTIME.block_on(async {
            for requests in requests.chunks(size) {
                let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
                match protocol {
                    Protocol::Http1 => {
                        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
                        crowd.connections.spawn(async { drop(connection.await) });
                        let request = encoded(&requests[0], Some("close"));
                        crowd.members.push(tokio::spawn(async move {
                            outcome(sender.send_request(request).await).await
                        }));
                    }
                    Protocol::Http2(_) => {
                        let (sender, connection) =
                            http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                        crowd.connections.spawn(async { drop(connection.await) });
                        for request in requests {
                            let (mut sender, request) = (sender.clone(), encoded(request, None));
                            crowd.members.push(tokio::spawn(async move {
                                outcome(sender.send_request(request).await).await
                            }));
                        }
                    }
                }
            }
        });
        crowd
    }

    /// How many were answered, or failed, so far.
    pub fn ended(&self) -> usize {
        self.members.iter().filter(|member| member.is_finished()).count()
    }

    /// Takes all requests back: streams are reset, the connections stay open for a while.
    pub fn reset(self) {
        for member in &self.members {
            member.abort();
        }
        RUNTIME.block_on(async {
            for member in self.members {
                let _ = member.await;
            }
            // The resets are on their way.
            tokio::time::sleep(Duration::from_millis(100)).await;
        });
    }

    /// The outcome of each.
    pub fn outcomes(self) -> Vec<Outcome> {
        RUNTIME.block_on(async {
            let mut outcomes = Vec::new();
            let end = tokio::time::Instant::now() + PATIENCE;
            for member in self.members {
                let outcome = tokio::time::timeout_at(end, member).await;
                outcomes.push(outcome.map_or_else(|_| Err("no answer".to_owned()), Result::unwrap));
            }
            outcomes
        })
    }
}

async fn outcome(response: hyper::Result<Response<Incoming>>) -> Outcome {
    let response = response.map_err(|error| format!("{error:?}"))?;
    let status = response.status().as_u16();
    response.into_body().collect().await.map_err(|error| format!("{error:?}"))?;
    Ok((status, Instant::now()))
}

fn encoded(request: &Request, connection: Option<&str>) -> hyper::Request<Empty<Bytes>> {
    let case = Request::case();
    secrets::sent(&encode(&case, request));
    let path = str::from_utf8(&request.path).unwrap();
    let (uri, host) = match connection {
        Some(_) => (path.to_owned(), Some(request.authority.as_str())),
        None => (format!("http://{}{path}", request.authority), None),
    };
    let mut builder = hyper::Request::builder().method(request.method.as_str()).uri(uri);
    for (name, value) in
        host.map(|host| ("host", host)).into_iter().chain(connection.map(|c| ("connection", c)))
    {
        builder = builder.header(name, value);
    }
    let (name, value) = Reply::header_line(&case);
    for (name, value) in request.lines.iter().chain([&(name, value)]) {
        builder = builder.header(name.as_slice(), value.as_slice());
    }
    builder.body(Empty::new()).unwrap()
}
