//! Gauges that several threads have a share of.

use prometheus_client::metrics::gauge::Gauge;

/// One's share of a gauge, which shows the sum of all shares.
#[derive(Debug)]
pub struct GaugeShare {
    gauge: Gauge,
    value: i64,
}

impl GaugeShare {
    /// A share of 0.
    #[must_use]
    pub fn of(gauge: &Gauge) -> Self {
        Self { gauge: gauge.clone(), value: 0 }
    }

    /// The share is so much from now on.
    pub fn set(&mut self, value: i64) {
        self.gauge.inc_by(value - std::mem::replace(&mut self.value, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_the_sum_of_its_shares() {
        let gauge = Gauge::default();
        let (mut one, mut other) = (GaugeShare::of(&gauge), GaugeShare::of(&gauge));
        one.set(5);
        other.set(7);
        assert_eq!(gauge.get(), 12);
        one.set(1);
        other.set(0);
        assert_eq!(gauge.get(), 1);
    }
}
