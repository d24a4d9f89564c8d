//! Which containers' lags are shown by name: those that lag most.

use std::collections::HashSet;

use prometheus_client::metrics::family::Family;

use super::metrics::{ContainerLabels, UnsignedGauge};

/// This many containers are shown by name; the others are added up.
const LAG_CONTAINERS_MAX: usize = 100;
/// Stands for the others.
const OTHERS: &str = "(others)";

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
        let others = others.map(|lag| {
            let [namespace, pod, container] = std::array::from_fn(|_| OTHERS.to_owned());
            (ContainerLabels { namespace, pod, container }, lag)
        });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        status::{
            Metrics,
            exposition::{Format, encode},
        },
        tail::TailMetrics,
    };

    fn container(name: usize) -> ContainerLabels {
        ContainerLabels { namespace: "n".into(), pod: "p".into(), container: name.to_string() }
    }

    fn shown(all: &Metrics) -> Vec<String> {
        let text = encode(all.registry(), Format::Prometheus).unwrap();
        text.lines().filter(|line| line.starts_with("pilcrow_lag_bytes{")).map(str::to_owned).collect()
    }

    #[test]
    fn the_lags_of_most_containers_are_shown_and_the_rest_is_one_sum() {
        let mut all = Metrics::new();
        let metrics = TailMetrics::new(&mut all);
        metrics.set_lags((0..LAG_CONTAINERS_MAX + 3).map(|i| (i, 10 + i as u64)), container);
        let lines = shown(&all);
        assert_eq!(lines.len(), LAG_CONTAINERS_MAX + 1);
        let others = "pilcrow_lag_bytes{namespace=\"(others)\",pod=\"(others)\",container=\"(others)\"} 33";
        assert!(lines.iter().any(|line| line == others), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("container=\"2\"")), "{lines:?}");
    }

    #[test]
    fn a_container_that_vanished_has_no_lag() {
        let mut all = Metrics::new();
        let metrics = TailMetrics::new(&mut all);
        metrics.set_lags([(1, 5), (2, 0)].into_iter(), container);
        assert_eq!(shown(&all).len(), 2);
        metrics.set_lags([(2, 7)].into_iter(), container);
        assert_eq!(shown(&all), ["pilcrow_lag_bytes{namespace=\"n\",pod=\"p\",container=\"2\"} 7"]);
        metrics.set_lags(std::iter::empty(), container);
        assert_eq!(shown(&all), [""; 0]);
    }
}
