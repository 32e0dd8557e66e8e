//! A request by flags.

use std::net::IpAddr;

use clap::Args;
use usher_core::request::Request;
use usher_verbs::request::{self, Line};

use crate::read;

/// A request by flags.
#[derive(Args, Debug)]
pub(super) struct Flags {
    /// `:method`; default: GET
    #[arg(long, short = 'X')]
    method: Option<String>,
    /// `:path`, query included; default: `/`
    #[arg(long)]
    path: Option<String>,
    /// `:authority`, port included
    #[arg(long, value_name = "H")]
    host: Option<String>,
    /// The request of a curl command, as pasted; `-` reads it from standard input
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["method", "path", "host"])]
    curl: Option<String>,
    /// A header line, `name: value`
    #[arg(long = "header", short = 'H', value_name = "K: V")]
    headers: Vec<String>,
    /// Sent as `authorization: Bearer T`; `-` reads standard input
    #[arg(long, value_name = "T", conflicts_with = "token_file")]
    token: Option<String>,
    /// The same from a file, `-` for standard input
    #[arg(long, value_name = "F")]
    token_file: Option<String>,
    /// The peer's SPIFFE id, with or without `spiffe://`, wherever `peerIdentity` finds it; implies TLS
    #[arg(long, value_name = "SPIFFE")]
    principal: Option<String>,
    /// The TCP peer, what `sourceAddress` stands for
    #[arg(long, value_name = "IP")]
    source_ip: Option<IpAddr>,
    /// The client's address, what `remoteIpBlocks` compare
    #[arg(long, value_name = "IP")]
    remote_ip: Option<IpAddr>,
    /// The request has a body, as no CORS preflight has
    #[arg(long)]
    body: bool,
}

impl Flags {
    /// The request that the flags describe.
    ///
    /// # Errors
    /// A header line without a colon, or an unreadable token file.
    pub(super) fn request(&self) -> anyhow::Result<Request> {
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) if token != "-" => Some(token.clone()),
            (Some(_), _) => Some(read::text("-")?),
            (None, Some(name)) => Some(read::text(name)?),
            (None, None) => None,
        };
        let mut line = match &self.curl {
            Some(command) if command == "-" => request::from_curl(&read::text("-")?)?,
            Some(command) => request::from_curl(command)?,
            None => Line {
                method: self.method.clone().unwrap_or_else(|| "GET".to_owned()),
                path: self.path.clone().unwrap_or_else(|| "/".to_owned()),
                authority: self.host.clone(),
                tls: Some(self.principal.is_some()),
                ..Line::default()
            },
        };
        let headers = line.headers.get_or_insert_default();
        if let Some(token) = token {
            headers.push(("authorization".to_owned(), format!("Bearer {}", token.trim())));
        }
        for text in &self.headers {
            headers.push(request::header(text)?);
        }
        if let Some(principal) = &self.principal {
            line.peer = Some(request::peer(principal));
            line.tls = Some(true);
        }
        line.source_ip = self.source_ip;
        line.remote_ip = self.remote_ip;
        if self.body {
            line.body = Some(true);
        }
        line.request()
    }
}
