//! What each verb prints and ends with, case by case: the files under `cmd/`.
//!
//! `TRYCMD=overwrite cargo test -p usher-cli --test command golden::` writes what is printed now; read the
//! difference before committing it.

#[test]
fn answers_are_as_written_down() {
    trycmd::TestCases::new().case("tests/cmd/*/*.toml");
}
