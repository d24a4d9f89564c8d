//! Which containers' lags are shown by name: those that lag most, over all shards.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use prometheus_client::metrics::family::Family;

use super::metrics::{ContainerLabels, LAG_CONTAINERS_MAX, UnsignedGauge};

/// What is shown, and what it was made of.
#[derive(Debug, Default)]
pub(super) struct Lags {
    shards: BTreeMap<usize, Ranked<Arc<ContainerLabels>>>,
    shown: HashSet<Arc<ContainerLabels>>,
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
    /// Takes the lags of all containers of a shard and shows them together with those of the other shards.
    pub fn set<T>(
        &mut self,
        shard: usize,
        lags: Vec<(T, u64)>,
        labels: impl Fn(T) -> ContainerLabels,
        family: &Family<ContainerLabels, UnsignedGauge>,
    ) {
        let Ranked { most, others } = Ranked::of(lags);
        let most = most.into_iter().map(|(container, lag)| (Arc::new(labels(container)), lag)).collect();
        self.shards.insert(shard, Ranked { most, others });
        let named = self.shards.values().flat_map(|ranked| &ranked.most);
        let ranked = Ranked::of(named.map(|(container, lag)| (Arc::clone(container), *lag)).collect());
        let unnamed = self.shards.values().filter_map(|ranked| ranked.others).chain(ranked.others);
        let others = unnamed.reduce(u64::saturating_add).map(|sum| (Arc::new(ContainerLabels::others()), sum));
        let mut shown = HashSet::with_capacity(ranked.most.len() + 1);
        for (container, lag) in ranked.most.into_iter().chain(others) {
            family.get_or_create(&container).set(lag);
            shown.insert(container);
        }
        for vanished in self.shown.difference(&shown) {
            family.remove(vanished);
        }
        self.shown = shown;
    }
}
