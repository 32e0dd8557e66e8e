//! Service and issuer, and the Envoy configuration that stands before them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;

use crate::issuer::Issuer;
use crate::site::Site;
use crate::{envoy, service};

/// Starts service and issuer, and writes the configuration for an Envoy before them. They serve as long
/// as the runtime does.
///
/// # Errors
/// A port is taken, or a file cannot be written.
pub async fn serve(site: &Site, module: &Path) -> anyhow::Result<Arc<Issuer>> {
    std::fs::create_dir_all(&site.folder)
        .with_context(|| format!("cannot make the folder `{}`", site.folder.display()))?;
    let issuer = Arc::new(Issuer::open(&site.issuer(), &site.issuer_key())?);
    listen(Ipv4Addr::LOCALHOST.into(), site.service_port(), service::router()).await?;
    listen(site.bind, site.issuer_port(), Arc::clone(&issuer).router()).await?;

    // Before the configuration: who waits for that finds the log too.
    open_to_envoy(&site.access_log())?;
    let configuration = envoy::configuration(site, module, &issuer.jwks())?;
    let file = site.envoy_config();
    std::fs::write(&file, configuration)
        .with_context(|| format!("cannot write `{}`", file.display()))?;
    Ok(issuer)
}

async fn listen(bind: IpAddr, port: u16, router: Router) -> anyhow::Result<()> {
    let listener = TcpListener::bind((bind, port)).await.with_context(|| {
        format!("cannot listen on port {port}: is another demo running? --port chooses others")
    })?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}

/// An empty log that Envoy may write to, whoever it runs as: in containers that is another user.
fn open_to_envoy(log: &Path) -> anyhow::Result<()> {
    std::fs::write(log, "").with_context(|| format!("cannot write `{}`", log.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(log, std::fs::Permissions::from_mode(0o666))?;
    }
    Ok(())
}
