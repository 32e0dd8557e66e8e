//! A program that cannot outlive the process that started it.

use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Ends the program when the guard's standard input closes, and so with the process that holds it: a value in a
/// `static` is never dropped, and a process that is killed drops nothing. The guard ends with the program.
const GUARD: &str = r#"
    exec 3<&0
    "$@" 3<&- & program=$!
    echo $program >"${PID_FILE:-/dev/null}"
    { read -r _ <&3; kill -KILL $program; } & reader=$!
    wait $program; status=$?
    kill $reader
    exit $status
"#;

/// A running program. It ends when this is dropped.
pub struct Guarded {
    guard: Child,
}

impl Guarded {
    /// A command that runs `binary` under the guard: its arguments are the program's. The guard writes the program's
    /// number to the file that `PID_FILE` names.
    pub fn command(binary: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "guard"]).arg(binary).stdin(Stdio::piped());
        // Ctrl-C goes to the process that started it, which ends it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// Starts a [`command`](Self::command).
    ///
    /// # Errors
    /// There is no shell.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Ok(Self { guard: command.spawn()? })
    }

    /// Its status, if the program has ended by itself.
    ///
    /// # Errors
    /// The system does not say.
    pub fn has_ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.guard.try_wait()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Closes the guard's standard input.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
