//! The program `usher`; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    usher_cli::main(std::env::args_os())
}
