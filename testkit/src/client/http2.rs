//! HTTP/2 with prior knowledge, by hyper.

use std::future::ready;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::{HeaderMap, header::HeaderName, header::HeaderValue};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{Reply, Request, http1};
use crate::{RUNTIME, secrets};

/// Sends `request` under the name `case` on a fresh connection; a silent server fails the test after
/// ten seconds. Names go out in lower case, as HTTP/2 wants them.
pub fn exchange(address: SocketAddr, case: &str, request: &Request) -> Reply {
    RUNTIME
        .block_on(async {
            tokio::time::timeout(Duration::from_secs(10), send(address, case, request)).await
        })
        .expect("a response within ten seconds")
        .unwrap_or_else(|error| panic!("{case} over HTTP/2: {error:#}"))
}

async fn send(address: SocketAddr, case: &str, request: &Request) -> anyhow::Result<Reply> {
    secrets::sent(&http1::encode(case, request));
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);

    let path = str::from_utf8(&request.path)?;
    let body = Full::new(Bytes::copy_from_slice(&request.body));
    // A request without a body ends with its headers; one with trailers does not.
    let mut sent = hyper::Request::new(if request.trailers.is_empty() {
        body.boxed()
    } else {
        body.with_trailers(ready(Some(Ok(fields(&request.trailers)?)))).boxed()
    });
    *sent.method_mut() = request.method.parse()?;
    *sent.uri_mut() = format!("http://{}{path}", request.authority).parse()?;
    *sent.headers_mut() = fields(&request.lines)?;
    let (name, value) = Reply::header_line(case);
    sent.headers_mut().append(HeaderName::from_bytes(&name)?, HeaderValue::from_bytes(&value)?);

    let response = sender.send_request(sent).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    connection.abort();
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
    Ok(Reply {
        case: case.to_owned(),
        status: head.status.as_u16(),
        headers: head.headers.iter().map(line).collect(),
        body,
        seen: None,
    })
}

fn fields(lines: &[(Vec<u8>, Vec<u8>)]) -> anyhow::Result<HeaderMap> {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        fields.append(HeaderName::from_bytes(name)?, HeaderValue::from_bytes(value)?);
    }
    Ok(fields)
}
