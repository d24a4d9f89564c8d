//! Which containers' lags are shown by name: those that lag most.

use std::collections::HashSet;

use prometheus_client::metrics::family::Family;

use super::metrics::{ContainerLabels, LAG_CONTAINERS_MAX, UnsignedGauge};

/// What is shown, and what it was made of.
#[derive(Debug, Default)]
pub(super) struct Lags {
    shown: HashSet<ContainerLabels>,
}

/// Those that lag most, in no order, and what the others lag together, in bytes; `None`: there are no others.
#[derive(Debug)]
struct Ranked<T> {
    most: Vec<(T, u64)>,
    others: Option<u64>,
}

impl<T> Ranked<T> {
    fn of(mut lags: Vec<(T, u64)>) -> Self {
        if lags.len() <= LAG_CONTAINERS_MAX {
            return Self { most: lags, others: None };
        }
        lags.select_nth_unstable_by_key(LAG_CONTAINERS_MAX, |(_, lag)| std::cmp::Reverse(*lag));
        let others = lags.drain(LAG_CONTAINERS_MAX..).fold(0u64, |sum, (_, lag)| sum.saturating_add(lag));
        Self { most: lags, others: Some(others) }
    }
}

impl Lags {
    /// Shows the lags of all containers.
    pub fn set<T>(
        &mut self,
        lags: Vec<(T, u64)>,
        labels: impl Fn(T) -> ContainerLabels,
        family: &Family<ContainerLabels, UnsignedGauge>,
    ) {
        let Ranked { most, others } = Ranked::of(lags);
        let most = most.into_iter().map(|(container, lag)| (labels(container), lag));
        let others = others.map(|lag| (ContainerLabels::others(), lag));
        let mut shown = HashSet::with_capacity(most.len() + 1);
        for (container, lag) in most.chain(others) {
            family.get_or_create(&container).set(lag);
            shown.insert(container);
        }
        for vanished in self.shown.difference(&shown) {
            family.remove(vanished);
        }
        self.shown = shown;
    }
}
