//! The timer of a root context.

use std::cell::Cell;

use crate::host::Host;

/// How often waiting requests are checked, in milliseconds.
pub(crate) const QUICK: u32 = 10;

/// When the next of them are decided, if the last batch did not take all.
pub(crate) const AT_ONCE: u32 = 1;

/// A timer.
#[derive(Default)]
pub(crate) struct Timer {
    /// In milliseconds; 0: it does not tick.
    period: Cell<u32>,
    ended: Cell<bool>,
}

impl Timer {
    /// Makes it tick soon, for a request that waits.
    pub(crate) fn hurry<H: Host>(&self, host: &H) {
        if self.period.get() != AT_ONCE {
            self.set(host, QUICK);
        }
    }

    /// Sets the period in milliseconds (0: it stops), unless it is the same already: setting it again would restart
    /// it.
    pub(crate) fn set<H: Host>(&self, host: &H, period: u32) {
        // One that fails is tried again.
        if !self.ended.get() && self.period.get() != period && host.set_tick_period(period) {
            self.period.set(period);
        }
    }

    /// Stops it permanently.
    pub(crate) fn end<H: Host>(&self, host: &H) {
        if !self.ended.replace(true) && self.period.replace(0) != 0 {
            host.set_tick_period(0);
        }
    }

    /// Whether it was stopped permanently.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }
}
