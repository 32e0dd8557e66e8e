//! Series -> Envoy stats. The number of each stat is requested once.

use usher_core::observe::metrics::family::Family;
use usher_core::observe::metrics::registry::Registry;
use usher_core::observe::metrics::{Label, Series};

use crate::host::Host;

/// The stats of one plugin.
#[derive(Default)]
pub(crate) struct Stats {
    plugin: String,
    registry: Registry,
}

impl Stats {
    pub(crate) fn new(plugin: String) -> Self {
        Self { plugin, registry: Registry::default() }
    }

    /// Adds to a counter, or to a gauge, which may also decrease.
    pub(crate) fn add<H: Host>(&mut self, host: &H, series: &Series<'_>, offset: i64) {
        if let Some(id) =
            self.registry.id(&self.plugin, series, &mut |kind, name| host.define_metric(kind, name))
        {
            host.increment_metric(id, offset);
        }
    }

    /// Sets a gauge.
    pub(crate) fn set<H: Host, const N: usize>(
        &mut self,
        host: &H,
        family: &'static Family,
        labels: [Label<'_>; N],
        value: u64,
    ) {
        let series = Series::new(family, labels);
        if let Some(id) = self
            .registry
            .id(&self.plugin, &series, &mut |kind, name| host.define_metric(kind, name))
        {
            host.record_metric(id, value);
        }
    }

    /// Sets every series of a gauge to 0: a stat cannot be removed.
    pub(crate) fn zero<H: Host>(&mut self, host: &H, family: &'static Family) {
        for id in self.registry.ids(family) {
            host.record_metric(id, 0);
        }
    }
}
