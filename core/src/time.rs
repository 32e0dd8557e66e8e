//! Points in time, by their unit: one in seconds and one in milliseconds cannot be mixed up. Spans are numbers: of seconds
//! beside [`UnixSeconds`], of milliseconds ([`Millis`]) beside [`UnixMillis`].

/// Seconds since 1970, as in `exp`, `nbf` and `iat` (RFC 7519 section 2, NumericDate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

/// A span in milliseconds.
pub type Millis = u64;

impl UnixSeconds {
    /// What the host's clock returns if it fails: in 1970 nothing has expired.
    pub const NO_CLOCK: Self = Self(0);

    /// The time this many seconds later; at most the latest possible time.
    #[must_use]
    pub const fn saturating_add(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// The time this many seconds earlier; at least 1970.
    #[must_use]
    pub const fn saturating_sub(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// Seconds since `earlier`; 0 if that is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl UnixMillis {
    /// What the host's clock returns if it fails.
    pub const NO_CLOCK: Self = Self(0);

    /// The time this much later; at most the latest possible time.
    #[must_use]
    pub const fn saturating_add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// The time since `earlier`; 0 if that is later.
    pub const fn since(self, earlier: Self) -> Millis {
        self.0.saturating_sub(earlier.0)
    }

    /// The second that contains it.
    pub const fn seconds(self) -> UnixSeconds {
        UnixSeconds(self.0 / 1000)
    }
}

impl std::fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
