//! libFuzzer with the target that `USHER_FUZZ_TARGET` names. One binary for all targets, since linking
//! is slow.

#![no_main]

use std::sync::OnceLock;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("USHER_FUZZ_TARGET").unwrap_or_default();
        match usher_fuzz::target(&name) {
            Some(target) => RUN.get_or_init(|| target.run),
            None => {
                eprintln!("libfuzzer: no target `{name}`");
                std::process::exit(1);
            }
        };
    },
    |data: &[u8]| {
        if let Some(run) = RUN.get() {
            run(data);
        }
    }
);
