//! Series -> Envoy stats. A stat's number is asked for once.

use usher_core::observe::metrics::family::Family;
use usher_core::observe::metrics::registry::Registry;
use usher_core::observe::metrics::{Label, Series};

use super::host;

/// The stats of one plugin.
#[derive(Default)]
pub(super) struct Stats {
    plugin: String,
    registry: Registry,
}

impl Stats {
    pub(super) fn new(plugin: String) -> Self {
        Self { plugin, registry: Registry::default() }
    }

    /// Adds to a counter, or to a gauge, which may also sink.
    pub(super) fn add(&mut self, series: &Series<'_>, offset: i64) {
        if let Some(id) = self.registry.id(&self.plugin, series, &mut host::define_metric) {
            host::increment_metric(id, offset);
        }
    }

    /// Sets a gauge.
    pub(super) fn set<const N: usize>(
        &mut self,
        family: &'static Family,
        labels: [Label<'_>; N],
        value: u64,
    ) {
        let series = Series::new(family, labels);
        if let Some(id) = self.registry.id(&self.plugin, &series, &mut host::define_metric) {
            host::record_metric(id, value);
        }
    }

    /// Sets every series of a gauge to 0: a stat cannot be taken back.
    pub(super) fn zero(&mut self, family: &'static Family) {
        for id in self.registry.ids(family) {
            host::record_metric(id, 0);
        }
    }
}
