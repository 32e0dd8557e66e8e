//! One Envoy, and what it costs: CPU time and memory as the kernel counts them.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// How long Envoy may take to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running Envoy; it ends with this value.
pub(crate) struct Envoy {
    child: Child,
    /// From the start of the process until it was ready to serve.
    pub(crate) start: Duration,
    log: PathBuf,
}

impl Envoy {
    /// Starts Envoy with this configuration in `directory`, and waits until all `ports` answer.
    pub(crate) fn start(
        binary: &Path,
        bootstrap: &Value,
        directory: &Path,
        ports: &[SocketAddr],
        workers: usize,
    ) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let at = |name: &str| -> PathBuf { directory.join(name) };
        fs::write(at("bootstrap.json"), bootstrap.to_string())?;
        let log = fs::File::create(at("envoy.log"))?;
        let begin = Instant::now();
        let child = Command::new(binary)
            .args(["--concurrency", &workers.to_string()])
            .args(["--disable-hot-restart", "--log-level", "warning"])
            // Where the decision log has what it says of allowed requests.
            .args(["--component-log-level", "wasm:info"])
            .arg("--config-path")
            .arg(at("bootstrap.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| binary.display().to_string())?;
        let mut envoy = Self { child, start: Duration::ZERO, log: at("envoy.log") };
        // Listeners are opened once the whole configuration is in force.
        while !ports.iter().all(|port| TcpStream::connect(port).is_ok()) {
            if begin.elapsed() > PATIENCE || envoy.child.try_wait()?.is_some() {
                bail!("Envoy does not start: {}", fs::read_to_string(at("envoy.log"))?);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        envoy.start = begin.elapsed();
        Ok(envoy)
    }

    /// The time that all of its threads have spent on a processor so far
    /// (Documentation/scheduler/sched-stats.rst: the first number, in nanoseconds).
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end between the two.
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            total += text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0_u64);
        }
        Ok(Duration::from_nanos(total))
    }

    /// How many decisions of this plugin its log tells of.
    pub(crate) fn decisions(&self, plugin: &str) -> Result<usize> {
        // Name, root id, VM.
        let line = format!("wasm log {plugin} {plugin} usher: {{\"time\"");
        Ok(fs::read_to_string(&self.log)?.matches(&line).count())
    }

    /// Its resident memory, in KiB.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.context("VmRSS of a running process")
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
