//! HTTP/1.1, read by httparse and written by hand: a library would not send what hostile clients send.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use super::{Reply, Request};
use crate::secrets;

/// A stream to write a request to and to read its response from.
pub trait Wire: Read + Write {}
impl<S: Read + Write> Wire for S {}

/// Connects to `address`; a silent server fails the test after ten seconds.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Connects to `address` from the address `source` of this machine.
pub fn connect_from(source: IpAddr, address: SocketAddr) -> TcpStream {
    let stream = crate::RUNTIME.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        socket.connect(address).await?.into_std()
    });
    let stream = stream.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Sends `request` under the name `case` on a fresh connection that is closed afterwards.
pub fn exchange(stream: impl Wire, case: &str, request: &Request) -> Reply {
    let request = request.clone().header("connection", "close");
    Connection::new(stream).exchange(case, &request)
}

/// Sends `bytes` as they are and reads one response.
pub fn raw(stream: impl Wire, case: &str, bytes: &[u8]) -> Reply {
    Connection::new(stream).raw(case, bytes, false)
}

/// A connection for any number of requests, one after the other.
pub struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: Wire> Connection<S> {
    /// Speaks over `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends `request` under the name `case`, and leaves the connection open.
    pub fn exchange(&mut self, case: &str, request: &Request) -> Reply {
        self.raw(case, &encode(case, request), request.method == "HEAD")
    }

    /// Sends `bytes` and reads one response. `bodiless`: the response to a HEAD.
    fn raw(&mut self, case: &str, bytes: &[u8], bodiless: bool) -> Reply {
        secrets::sent(bytes);
        // Envoy may answer, and close, before it has read all of a request that it refuses.
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        let (status, headers) = self.head();
        let body = if bodiless || status == 204 || status == 304 {
            Vec::new()
        } else if let Some(length) = value(&headers, "content-length") {
            self.take(length.parse().unwrap())
        } else if value(&headers, "transfer-encoding").is_some() {
            self.chunks()
        } else {
            self.rest()
        };
        Reply { case: case.to_owned(), status, headers, body, seen: None }
    }
}

/// The bytes of a request.
pub(crate) fn encode(case: &str, request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.extend_from_slice(part));
    put(&[request.method.as_bytes(), b" ", &request.path, b" HTTP/1.1\r\nhost: "]);
    put(&[request.authority.as_bytes(), b"\r\n"]);
    for (name, value) in request.lines.iter().chain([&Reply::header_line(case)]) {
        put(&[name, b": ", value, b"\r\n"]);
    }
    if !request.trailers.is_empty() {
        put(&[b"transfer-encoding: chunked\r\n\r\n"]);
        if !request.body.is_empty() {
            put(&[format!("{:x}\r\n", request.body.len()).as_bytes(), &request.body, b"\r\n"]);
        }
        put(&[b"0\r\n"]);
        for (name, value) in &request.trailers {
            put(&[name, b": ", value, b"\r\n"]);
        }
        put(&[b"\r\n"]);
    } else if request.body.is_empty() {
        put(&[b"\r\n"]);
    } else {
        put(&[format!("content-length: {}\r\n\r\n", request.body.len()).as_bytes(), &request.body]);
    }
    bytes
}

/// Reading a response.
impl<S: Wire> Connection<S> {
    fn head(&mut self) -> (u16, Vec<(String, Vec<u8>)>) {
        loop {
            let mut lines = [httparse::EMPTY_HEADER; 128];
            let mut response = httparse::Response::new(&mut lines);
            if let httparse::Status::Complete(length) = response.parse(&self.buffer).unwrap() {
                let status = response.code.unwrap();
                let lower = |line: &httparse::Header<'_>| {
                    (line.name.to_ascii_lowercase(), line.value.to_vec())
                };
                let headers = response.headers.iter().map(lower).collect();
                self.buffer.drain(..length);
                return (status, headers);
            }
            assert!(self.more(), "no response, only {:?}", self.buffer.escape_ascii().to_string());
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.more(), "the response ends within its body");
        }
        self.buffer.drain(..length).collect()
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            match httparse::parse_chunk_size(&self.buffer).unwrap() {
                httparse::Status::Complete((_, 0)) => return body,
                httparse::Status::Complete((start, size)) => {
                    self.take(start);
                    body.extend(self.take(usize::try_from(size).unwrap()));
                    self.take(b"\r\n".len());
                }
                httparse::Status::Partial => {
                    assert!(self.more(), "the response ends within its chunks");
                }
            }
        }
    }

    fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads on; false at the end.
    fn more(&mut self) -> bool {
        let mut piece = [0; 16384];
        match self.stream.read(&mut piece) {
            Ok(length) => {
                self.buffer.extend_from_slice(&piece[..length]);
                length > 0
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            // A TLS peer that hangs up without close_notify.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => false,
            Err(error) => panic!("reading the response: {error}"),
        }
    }
}

fn value<'h>(headers: &'h [(String, Vec<u8>)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(n, _)| n == name).and_then(|(_, value)| str::from_utf8(value).ok())
}
