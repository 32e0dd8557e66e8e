//! What the rules need from the host.

use crate::hash::FastSet;
use crate::policy::AuthorizationPolicy;
use crate::policy::authorization::attribute::{Address, Attribute};
use crate::policy::authorization::rule::{Condition, Test};
use crate::policy::authorization::values_from::ValueSource;

/// The attributes that rules read: the host need not supply any others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequiredAttributes {
    /// Names in the client's certificate.
    pub peer: bool,
    /// TLS server name.
    pub sni: bool,
    /// The TCP peer.
    pub source_ip: bool,
    /// The client by `x-forwarded-for`.
    pub remote_ip: bool,
    /// Local address.
    pub destination_ip: bool,
    /// Local port.
    pub destination_port: bool,
    /// Header lines other than pseudo headers.
    pub headers: bool,
    /// Hosts.
    pub hosts: bool,
    /// Paths.
    pub paths: bool,
    /// Query parameters, which may hold a token too.
    pub query: bool,
    /// What path templates capture.
    pub captures: bool,
    /// Dynamic metadata, by filter and key.
    pub metadata: Vec<(String, String)>,
}

impl RequiredAttributes {
    /// What the rules of these policies read.
    pub(crate) fn of(policies: &[AuthorizationPolicy]) -> Self {
        let mut needs = Self::default();
        for rule in policies.iter().flat_map(|policy| &policy.rules) {
            let operands = rule.from.iter().chain(&rule.to).chain([&rule.when]);
            operands.flatten().for_each(|condition| needs.add(condition));
        }
        // Each key once; many conditions may read the same key.
        let mut seen: FastSet<Box<[u8]>> = FastSet::default();
        needs.metadata.retain(|(filter, key)| {
            seen.insert([filter.as_bytes(), b"\0", key.as_bytes()].concat().into())
        });
        needs
    }

    fn add(&mut self, condition: &Condition) {
        let tests = condition.values.iter().chain(&condition.not_values).chain(&condition.all);
        tests.for_each(|test| self.add_test(test));
        if let Some(from) = &condition.values_from {
            self.add_attribute(&from.attribute);
            for source in &from.sources {
                match source {
                    ValueSource::Attribute(attribute) => self.add_attribute(attribute),
                    ValueSource::Path(_) => self.captures = true,
                }
            }
        }
    }

    fn add_test(&mut self, test: &Test) {
        match test {
            Test::Address(Address::Source, _) => self.source_ip = true,
            Test::Address(Address::Remote, _) => self.remote_ip = true,
            Test::Address(Address::Destination, _) => self.destination_ip = true,
            Test::Host(_) => self.hosts = true,
            Test::Metadata { filter, key, .. } => self.metadata.push((filter.clone(), key.clone())),
            Test::Path(_) => self.paths = true,
            Test::Peer(_) => self.peer = true,
            Test::Port(_) => self.destination_port = true,
            Test::RequestPrincipal(_) => {}
            Test::Text(attribute, _) => self.add_attribute(attribute),
        }
    }

    fn add_attribute(&mut self, attribute: &Attribute) {
        match attribute {
            Attribute::Sni => self.sni = true,
            Attribute::Header(name) if name == ":path" => self.query = true,
            Attribute::Header(name) => self.headers |= !name.starts_with(':'),
            Attribute::Query(_) => self.query = true,
            Attribute::Actor
            | Attribute::Claim(_)
            | Attribute::Method
            | Attribute::Provider
            | Attribute::Scope => {}
        }
    }
}
