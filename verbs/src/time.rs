//! Times as people write them.

use usher_core::time::UnixSeconds;

/// The last second of the year 9999, the end of RFC 3339.
const LAST: u64 = 253_402_300_799;

/// A time, as seconds since 1970 or in RFC 3339.
pub fn parse(text: &str) -> Option<UnixSeconds> {
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => Some(seconds),
        Err(_) => {
            let time: Option<jiff::Timestamp> = text.parse().ok();
            time.and_then(|time| u64::try_from(time.as_second()).ok())
        }
    };
    seconds.filter(|seconds| *seconds <= LAST).map(UnixSeconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_rfc_3339_are_read() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1700000000", Some(1_700_000_000)),
            ("2023-11-14T22:13:20Z", Some(1_700_000_000)),
            ("2023-11-14T23:13:20.9+01:00", Some(1_700_000_000)),
            ("253402300800", None),
            ("1969-12-31T23:59:59Z", None),
            ("2023-11-14", None),
            ("2023-11-14T22:13:20", None),
            ("now", None),
            ("-1", None),
        ] {
            assert_eq!(parse(text).map(|time| time.0), expected, "{text}");
        }
    }
}
