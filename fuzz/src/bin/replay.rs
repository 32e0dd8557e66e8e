//! Runs a target on files, without libFuzzer: replay TARGET FILE.. Without arguments it lists the targets.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        for target in usher_fuzz::TARGETS {
            println!("{}", target.name);
        }
        return ExitCode::SUCCESS;
    };
    let Some(target) = usher_fuzz::target(&name) else {
        eprintln!("replay: no target `{name}`");
        return ExitCode::FAILURE;
    };
    for file in arguments {
        match std::fs::read(&file) {
            Ok(data) => (target.run)(&data),
            Err(error) => {
                eprintln!("replay: {file}: {error}");
                return ExitCode::FAILURE;
            }
        }
        println!("replay: {file}: nothing is wrong");
    }
    ExitCode::SUCCESS
}
