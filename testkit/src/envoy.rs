//! One Envoy process in a directory of its own.

use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Ask, http1};

/// How long Envoy may take to start; compiling the module takes most of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process ends when its guard's standard input does, and so with the process that started it,
/// however that ends: a gate in a `static` is never dropped. The guard ends with it.
pub(crate) const GUARD: &str = r#"
    exec 3<&0
    "$@" 3<&- & envoy=$!
    echo $envoy >"$PID_FILE"
    { read -r _ <&3; kill -KILL $envoy; } & reader=$!
    wait $envoy; kill $reader
"#;

/// A running Envoy; stopped when this is dropped.
pub(crate) struct Envoy {
    guard: Child,
    directory: PathBuf,
    admin: SocketAddr,
}

impl Envoy {
    /// Starts `binary` with `bootstrap` and waits until it is ready to serve.
    ///
    /// # Panics
    /// With Envoy's log, when it does not become ready.
    pub(crate) fn start(
        binary: &Path,
        bootstrap: &Value,
        directory: PathBuf,
        workers: usize,
    ) -> Self {
        let at = |name: &str| directory.join(name);
        std::fs::write(at("bootstrap.json"), bootstrap.to_string()).unwrap();
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(binary)
            .env("PID_FILE", at("pid"))
            .args([
                "--concurrency",
                &workers.to_string(),
                "--disable-hot-restart",
                "--log-level",
                "info",
            ])
            .args(["--file-flush-interval-msec", "10"])
            .args(["--drain-time-s", "1", "--parent-shutdown-time-s", "2"])
            .arg("--config-path")
            .arg(at("bootstrap.json"))
            .arg("--admin-address-path")
            .arg(at("admin"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(at("envoy.log")).unwrap())
            .spawn()
            .unwrap();

        let start = Instant::now();
        loop {
            let admin = std::fs::read_to_string(at("admin")).unwrap_or_default();
            if let Ok(admin) = admin.trim().parse()
                && ask(admin, &Ask::get("/ready")).is_some_and(|(status, _)| status == 200)
            {
                return Self { guard, directory, admin };
            }
            if start.elapsed() > PATIENCE || guard.try_wait().unwrap().is_some() {
                drop(guard.stdin.take());
                let log = std::fs::read_to_string(at("envoy.log")).unwrap_or_default();
                panic!("Envoy does not become ready; its log:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Where each listener listens, by name.
    pub(crate) fn listeners(&self) -> HashMap<String, SocketAddr> {
        let listeners: Value = serde_json::from_str(&self.admin("/listeners?format=json")).unwrap();
        let listeners = listeners["listener_statuses"].as_array().unwrap();
        // An internal listener has no address that a client could connect to.
        let entry = |listener: &Value| {
            let address = listener["local_address"].get("socket_address")?;
            let port = address["port_value"].as_u64().unwrap();
            let address = format!("{}:{port}", address["address"].as_str().unwrap());
            Some((listener["name"].as_str().unwrap().to_owned(), address.parse().unwrap()))
        };
        listeners.iter().filter_map(entry).collect()
    }

    /// The body of a GET of the admin interface.
    pub(crate) fn admin(&self, path: &str) -> String {
        ask(self.admin, &Ask::get(path)).expect("the admin interface answers").1
    }

    /// A POST to the admin interface.
    pub(crate) fn admin_post(&self, path: &str) {
        let (status, body) =
            ask(self.admin, &Ask::new("POST", path)).expect("the admin interface answers");
        assert_eq!(status, 200, "{path}: {body}");
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let pid = std::fs::read_to_string(self.directory.join("pid")).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// Envoy's log file.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("envoy.log")
    }
}

fn ask(address: SocketAddr, ask: &Ask) -> Option<(u16, String)> {
    let stream = std::net::TcpStream::connect(address).ok()?;
    let reply = http1::exchange(stream, "admin", ask);
    Some((reply.status, reply.text()))
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // Closes the guard's standard input.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
