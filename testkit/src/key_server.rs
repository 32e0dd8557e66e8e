//! A key server that answers as a test configures it, and counts requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::{Request, Response, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::RUNTIME;
use crate::tls::Identity;

/// A running key server.
pub struct KeyServer {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    manner: Manner,
    /// The paths that were asked for, in order.
    asked: Vec<String>,
    /// The server names of the TLS handshakes so far.
    names: Vec<Option<String>>,
}

/// How it answers.
#[derive(Clone, Debug)]
pub enum Manner {
    /// With status, further headers and body, for any path.
    Answers(u16, Vec<(&'static str, String)>, String),
    /// So, but for other paths otherwise.
    ByPath(Vec<(String, Manner)>),
    /// After so long.
    Late(Duration, Box<Self>),
    /// Once this says so.
    Once(watch::Receiver<bool>, Box<Self>),
    /// Not: connections are closed.
    Down,
    /// Not: connections stay open.
    Silent,
}

impl Manner {
    /// A good answer with this key set.
    pub fn keys(set: &Value) -> Self {
        let json = ("content-type", "application/json".to_owned());
        Self::Answers(200, vec![json], set.to_string())
    }
}

impl KeyServer {
    /// Starts one, in clear text.
    ///
    /// # Panics
    /// Without a free port.
    pub fn start(manner: Manner) -> Self {
        Self::with(manner, None)
    }

    /// Starts one that speaks TLS as `identity`.
    ///
    /// # Panics
    /// Without a free port.
    pub fn start_tls(manner: Manner, identity: &Identity) -> Self {
        Self::with(manner, Some(identity.acceptor()))
    }

    fn with(manner: Manner, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = RUNTIME.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { manner, asked: Vec::new(), names: Vec::new() }));
        let shared = Arc::clone(&state);
        RUNTIME.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                if matches!(shared.lock().unwrap().manner, Manner::Down) {
                    shared.lock().unwrap().asked.push(String::new());
                    continue;
                }
                let (state, acceptor) = (Arc::clone(&shared), acceptor.clone());
                tokio::spawn(async move {
                    let Some(acceptor) = acceptor else { return serve(stream, state).await };
                    // A client that trusts another authority ends it here.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let name = stream.get_ref().1.server_name().map(ToOwned::to_owned);
                    state.lock().unwrap().names.push(name);
                    serve(stream, state).await;
                });
            }
        });
        Self { address, state }
    }

    /// Changes how it answers from now on.
    pub fn becomes(&self, manner: Manner) {
        self.state.lock().unwrap().manner = manner;
    }

    /// Behaves like this once the returned value is triggered.
    pub fn holds(&self, then: Manner) -> watch::Sender<bool> {
        let (go, wait) = watch::channel(false);
        self.becomes(Manner::Once(wait, Box::new(then)));
        go
    }

    /// How often it was asked so far.
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }

    /// For which paths it was asked so far.
    pub fn paths(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// By which names it was addressed in TLS so far.
    pub fn names(&self) -> Vec<Option<String>> {
        self.state.lock().unwrap().names.clone()
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    // One request a connection, so that a change of manner meets the next request.
    let server = http1::Builder::new().keep_alive(false).to_owned();
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<hyper::body::Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let mut manner = {
        let mut state = state.lock().unwrap();
        state.asked.push(path.clone());
        state.manner.clone()
    };
    loop {
        match manner {
            Manner::Answers(status, headers, body) => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                return Ok(response.body(Full::new(Bytes::from(body))).unwrap());
            }
            Manner::ByPath(manners) => {
                let found = manners.into_iter().find(|(p, _)| *p == path).map(|(_, manner)| manner);
                let none = || Manner::Answers(404, Vec::new(), String::new());
                manner = found.unwrap_or_else(none);
            }
            Manner::Late(delay, then) => {
                tokio::time::sleep(delay).await;
                manner = *then;
            }
            Manner::Once(mut go, then) => {
                let _ = go.wait_for(|go| *go).await;
                manner = *then;
            }
            Manner::Down | Manner::Silent => std::future::pending::<()>().await,
        }
    }
}
