//! Longest texts, in bytes as written. Sources: W3C Trace Context section 3.2 (`traceparent` has 55), RFC
//! 1035 section 2.3.4 (a host name has 253), a UUID has 36; the others are what is useful to a reader.

pub(super) const ADDRESS: usize = 64;
pub(super) const CLAIM: usize = 256;
pub(super) const CLAIMS: usize = 2048;
pub(super) const HOST: usize = 320;
pub(super) const ID: usize = 128;
pub(super) const METHOD: usize = 32;
pub(super) const NAME: usize = 256;
pub(super) const PATH: usize = 1024;
pub(super) const SPOOFED: usize = 512;
