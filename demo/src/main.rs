//! The demo: `usher-demo play` is what `make run` runs, `usher-demo serve` what the containers run.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use usher_demo::issuer::{Issuer, PASSWORD};
use usher_demo::policies::{LISTENERS, Listener};
use usher_demo::site::{Hosts, Site};
use usher_demo::story::Story;
use usher_demo::{envoy, player, serve, story};

/// Plays Usher's main job: a token becomes a trusted identity.
#[derive(Parser)]
#[command(name = "usher-demo")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts service, issuer and Envoy, plays the examples, and serves on until Ctrl-C.
    Play {
        #[command(flatten)]
        at: At,
        /// usher.wasm
        #[arg(long, env = "USHER_WASM")]
        wasm: PathBuf,
        /// The Envoy binary
        #[arg(long, env = "ENVOY")]
        envoy: PathBuf,
        /// Ends after the examples: status 0 if all came out as expected
        #[arg(long)]
        once: bool,
    },
    /// Plays the examples through a demo that is served already.
    Replay {
        #[command(flatten)]
        at: At,
    },
    /// Plays the guides' story: write-checks, check-funds and pull-funds with token exchange.
    Story {
        #[command(flatten)]
        at: At,
        /// usher.wasm
        #[arg(long, env = "USHER_WASM")]
        wasm: PathBuf,
        /// The Envoy binary
        #[arg(long, env = "ENVOY")]
        envoy: PathBuf,
    },
    /// Serves one part of the story: `issuer`, which goes first, or one of the services.
    ServeStory {
        #[command(flatten)]
        at: At,
        /// The part
        part: String,
        /// usher.wasm as the Envoys find it; for the issuer, who writes their configurations
        #[arg(long, default_value = "/usher/usher.wasm")]
        wasm: PathBuf,
    },
    /// Plays the story through parts that are served already.
    ReplayStory {
        #[command(flatten)]
        at: At,
    },
    /// Serves service and issuer, and writes the configuration for an Envoy beside.
    Serve {
        #[command(flatten)]
        at: At,
        /// usher.wasm as Envoy finds it
        #[arg(long)]
        wasm: PathBuf,
    },
}

#[derive(Args)]
struct At {
    /// Envoy's port; issuer, service, Envoy's admin interface and the policies' listeners take the next eight
    #[arg(long, default_value_t = 10000)]
    port: u16,
    /// Where Envoy and the issuer listen
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// For the issuer's key, Envoy's configuration and the logs
    #[arg(long, default_value = "target/demo")]
    folder: PathBuf,
    /// Each part is on a host of its own name, and not on loopback
    #[arg(long)]
    named_hosts: bool,
}

impl At {
    fn site(self) -> Site {
        let hosts = if self.named_hosts { Hosts::Named } else { Hosts::Loopback };
        Site { port: self.port, bind: self.bind, folder: self.folder, hosts }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Play { at, wasm, envoy: binary, once } => {
            let site = at.site();
            let issuer = serve::serve(&site, &wasm).await?;
            let mut process = envoy::start(&binary, &site.sidecar()).await?;
            let good = player::play(&site, &issuer).await?;
            if once {
                return Ok(good);
            }
            print_invitation(&site);
            tokio::select! {
                status = envoy::ended(&mut process) => anyhow::bail!("Envoy ended: {}", status?),
                stopped = tokio::signal::ctrl_c() => stopped?,
            }
            println!("stopped");
            Ok(good)
        }
        Command::Replay { at } => {
            let site = at.site();
            let issuer = Issuer::open(&site.issuer(), &site.issuer_key())?;
            player::play(&site, &issuer).await
        }
        Command::Story { at, wasm, envoy } => story::play(&at.site(), &wasm, &envoy).await,
        Command::ServeStory { at, part, wasm } => {
            serve_story(at.site(), &part, &wasm).await?;
            Ok(true)
        }
        Command::ReplayStory { at } => story::replay(&Story::open(at.site())?).await,
        Command::Serve { at, wasm } => {
            serve::serve(&at.site(), &wasm).await?;
            stop_asked().await?;
            Ok(true)
        }
    }
}

/// Serves a part until it is asked to stop.
async fn serve_story(site: Site, part: &str, wasm: &Path) -> anyhow::Result<()> {
    if part != "issuer" {
        story::serve_service(&site, part).await?;
        return stop_asked().await;
    }
    let story = Story::open(site)?;
    story.serve_issuer(wasm).await?;
    // As a kubelet does it: well ahead of expiry.
    let mut renewal = tokio::time::interval(Duration::from_secs(600));
    let renew = async {
        loop {
            renewal.tick().await;
            if let Err(error) = story.leave_pod_token() {
                return error;
            }
        }
    };
    tokio::select! {
        error = renew => Err(error),
        stopped = stop_asked() => stopped,
    }
}

fn print_invitation(site: &Site) {
    let (port, issuer) = (site.port, site.issuer());
    let listener = |listener: &Listener| {
        format!("  :{}  {}", port.saturating_add(listener.offset), listener.name)
    };
    let listeners: Vec<String> = LISTENERS.iter().map(listener).collect();
    println!(
        "
Serving on http://127.0.0.1:{port} until Ctrl-C. Try it:

  TOKEN=$(curl -s -u mmosley:{PASSWORD} {issuer}/token)
  curl -i -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:{port}/who-am-i
  curl -i -H \"Authorization: Bearer $TOKEN\" -H 'User_Info: e30=' http://127.0.0.1:{port}/headers
  curl -i http://127.0.0.1:{port}/

The listeners with the policies of demo/policies:
{}

Each request and its reason:  {} (Envoy's access log)
The decision log, refusals:   {} (among Envoy's own lines)
Envoy's configuration:        {}",
        listeners.join("\n"),
        site.sidecar().access_log().display(),
        site.sidecar().envoy_log().display(),
        site.sidecar().envoy_config().display(),
    );
}

/// Waits for Ctrl-C, or for SIGTERM, which is how containers are stopped.
async fn stop_asked() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => {}
            stopped = tokio::signal::ctrl_c() => stopped?,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}
