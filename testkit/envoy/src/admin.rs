//! What Envoy's admin interface answers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ureq::Agent;

/// Sends a request without a body, on a connection of its own, and waits this long; the status and the body of the
/// response.
pub(crate) fn send(
    method: &str,
    address: SocketAddr,
    path: &str,
    patience: Duration,
) -> io::Result<(u16, String)> {
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(patience))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let uri = format!("http://{address}{path}");
    let response = match method {
        "POST" => agent.post(uri).send_empty(),
        _ => agent.get(uri).call(),
    };
    let mut response = response.map_err(io::Error::other)?;
    let status = response.status().as_u16();
    // A dump of a large configuration is more than ureq takes unasked.
    let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec();
    let body = body.map_err(io::Error::other)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
