//! Service and issuer, and the Envoy configuration that stands before them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;

use crate::issuer::{Issuer, endpoint};
use crate::site::{Sidecar, Site};
use crate::{envoy, service};

/// Starts service and issuer, and writes the configuration for an Envoy before them. They serve as long
/// as the runtime does.
///
/// # Errors
/// A port is taken, or a file cannot be written.
pub async fn serve(site: &Site, module: &Path) -> anyhow::Result<Arc<Issuer>> {
    let sidecar = site.sidecar();
    make_folder(&sidecar.folder)?;
    let issuer = Arc::new(Issuer::open(&site.issuer(), &site.issuer_key())?);
    listen(site.bind, site.issuer_port(), endpoint::router(Arc::clone(&issuer), None)).await?;
    let configuration = envoy::configuration(site, module, &issuer.jwks())?;
    stand(&sidecar, service::router(), &configuration).await?;
    Ok(issuer)
}

/// Starts a service behind a sidecar, and writes the sidecar's configuration.
async fn stand(sidecar: &Sidecar, service: Router, configuration: &str) -> anyhow::Result<()> {
    listen_behind(sidecar, service).await?;
    configure(sidecar, configuration)
}

/// Starts a service where the sidecar's Envoy alone finds it.
///
/// # Errors
/// The port is taken.
pub async fn listen_behind(sidecar: &Sidecar, service: Router) -> anyhow::Result<()> {
    listen(Ipv4Addr::LOCALHOST.into(), sidecar.service_port(), service).await
}

/// Writes the configuration for a sidecar's Envoy.
///
/// # Errors
/// A file cannot be written.
pub fn configure(sidecar: &Sidecar, configuration: &str) -> anyhow::Result<()> {
    make_folder(&sidecar.folder)?;
    // Before the configuration: a process that waits for that finds the log too.
    open_to_envoy(&sidecar.access_log())?;
    let file = sidecar.envoy_config();
    std::fs::write(&file, configuration)
        .with_context(|| format!("cannot write `{}`", file.display()))
}

/// Makes a folder and those above it.
///
/// # Errors
/// It cannot be made.
pub fn make_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))
}

/// Serves HTTP on a port, as long as the runtime runs.
///
/// # Errors
/// The port is taken.
pub async fn listen(bind: IpAddr, port: u16, router: Router) -> anyhow::Result<()> {
    let listener = TcpListener::bind((bind, port)).await.with_context(|| {
        format!("cannot listen on port {port}: is another demo running? --port chooses others")
    })?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}

/// An empty log that Envoy may write to under any user: in containers it runs as another.
fn open_to_envoy(log: &Path) -> anyhow::Result<()> {
    std::fs::write(log, "").with_context(|| format!("cannot write `{}`", log.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(log, std::fs::Permissions::from_mode(0o666))?;
    }
    Ok(())
}
