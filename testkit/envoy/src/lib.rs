//! One Envoy process: how it is started, asked and ended. The demo, the tests and the measurements all start theirs here.
//!
//! It blocks.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

mod admin;
mod guard;

pub use guard::Guarded;

/// How long Envoy may take to start on a busy machine; compiling the module takes most of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often Envoy is asked whether it is ready.
const INTERVAL: Duration = Duration::from_millis(5);

/// What to start, and where.
#[derive(Clone, Copy, Debug)]
pub struct Options<'o> {
    /// The Envoy binary.
    pub binary: &'o Path,
    /// Its configuration, which has an admin interface.
    pub configuration: &'o Path,
    /// Gets `envoy.log`, and what this process needs to know.
    pub folder: &'o Path,
    /// Arguments beside the configuration.
    pub arguments: &'o [&'o str],
}

/// A running Envoy. It ends when this is dropped, and with the process that started it, even if that is killed.
pub struct Process {
    guard: Guarded,
    folder: PathBuf,
    admin: SocketAddr,
    start: Duration,
}

impl Process {
    /// Starts Envoy and waits until it is ready to serve.
    ///
    /// # Errors
    /// With the end of Envoy's log, if it does not become ready.
    pub fn start(options: &Options<'_>) -> io::Result<Self> {
        let at = |name: &str| options.folder.join(name);
        // Of an earlier run.
        let _ = fs::remove_file(at("admin"));
        let mut command = Guarded::command(options.binary);
        command
            .arg("--config-path")
            .arg(options.configuration)
            .arg("--admin-address-path")
            .arg(at("admin"))
            .args(["--disable-hot-restart", "--file-flush-interval-msec", "10"])
            .args(options.arguments)
            .env("PID_FILE", at("pid"))
            .stdout(Stdio::null())
            .stderr(File::create(at("envoy.log"))?);
        let begin = Instant::now();
        let mut guard = Guarded::spawn(&mut command)?;
        loop {
            let admin = fs::read_to_string(at("admin")).unwrap_or_default();
            // While it starts, Envoy accepts a connection and answers when it has compiled the module.
            let left = PATIENCE.saturating_sub(begin.elapsed());
            if let Ok(admin) = admin.trim().parse()
                && admin::send("GET", admin, "/ready", left).is_ok_and(|(status, _)| status == 200)
            {
                let start = begin.elapsed();
                return Ok(Self { guard, folder: options.folder.to_owned(), admin, start });
            }
            if begin.elapsed() > PATIENCE || guard.has_ended()?.is_some() {
                return Err(not_ready(&at("envoy.log")));
            }
            std::thread::sleep(INTERVAL);
        }
    }

    /// Where the admin interface listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The body of a GET of the admin interface, such as `/stats`.
    ///
    /// # Errors
    /// No answer, or a status other than 200.
    pub fn get(&self, path: &str) -> io::Result<String> {
        self.send("GET", path)
    }

    /// The body of a POST to the admin interface, such as `/logging?wasm=debug`.
    ///
    /// # Errors
    /// No answer, or a status other than 200.
    pub fn post(&self, path: &str) -> io::Result<String> {
        self.send("POST", path)
    }

    fn send(&self, method: &str, path: &str) -> io::Result<String> {
        match admin::send(method, self.admin, path, PATIENCE)? {
            (200, body) => Ok(body),
            (status, body) => Err(io::Error::other(format!("{method} {path}: {status} {body}"))),
        }
    }

    /// Envoy's log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("envoy.log")
    }

    /// From the start of the process until it was ready to serve.
    pub fn start_time(&self) -> Duration {
        self.start
    }

    /// Its status, if it has ended by itself.
    ///
    /// # Errors
    /// The system does not say.
    pub fn has_ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.guard.has_ended()
    }

    /// Resident memory, in KiB.
    ///
    /// # Errors
    /// The process has ended, or this is not Linux.
    pub fn resident(&self) -> io::Result<u64> {
        let status = fs::read_to_string(self.proc()?.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| io::Error::other("no VmRSS"))
    }

    /// The time that all of its threads have spent on a processor so far
    /// (Documentation/scheduler/sched-stats.rst: the first number, in nanoseconds).
    ///
    /// # Errors
    /// The process has ended, or this is not Linux.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut total = 0_u64;
        for task in fs::read_dir(self.proc()?.join("task"))? {
            // A thread may end between the two.
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            total += text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(total))
    }

    fn proc(&self) -> io::Result<PathBuf> {
        let pid = fs::read_to_string(self.folder.join("pid"))?;
        Ok(Path::new("/proc").join(pid.trim()))
    }
}

fn not_ready(log: &Path) -> io::Error {
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let end = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n");
    io::Error::other(format!("Envoy does not become ready; the end of its log:\n{end}"))
}
