//! The chart's own instances of Alloy, each with values of Alloy's chart.
//!
//! In: the values, and the features that collect pod logs. Out: settings of Pilcrow's chart from the instance that runs them; the
//! others are named.

use crate::admin::migrate::{
    chart,
    origin::{Origin, Tree},
    recognise::at,
};

/// The instance that collects pod logs where nothing else is said.
const DEFAULT: &str = "alloy-logs";

/// Whether this key of the values is about instances.
pub fn is_one(key: &str) -> bool {
    key == "collectors" || key == "collectorCommon" || key.starts_with("alloy-")
}

/// Reads all instances. Older versions of the chart have them at the top, newer ones below `collectors`.
pub fn read(values: &Tree, features: &[&str], origin: &mut Origin) {
    let named = |feature: &&str| at(values, &[feature, "collector"]).and_then(Tree::as_text).map(str::to_owned);
    let below = at(values, &["collectors"]).map(Tree::pairs).unwrap_or_default();
    let only = if let [one] = below { Some(one.key.clone()) } else { None };
    let runs_logs = features.iter().find_map(named).or(only).unwrap_or_else(|| DEFAULT.to_owned());
    let at_top = values.pairs().iter().filter(|pair| pair.key.starts_with("alloy-")).map(|pair| ("", pair));
    for (prefix, pair) in at_top.chain(below.iter().map(|pair| ("collectors.", pair))) {
        let what = format!("{prefix}{}", pair.key);
        if pair.key != runs_logs || features.is_empty() {
            let text = "is a collector of the chart that runs no pod logs, and stays with it";
            origin.changed(&pair.place, &what, text);
            continue;
        }
        let text = "the collector of the pod logs: how it runs is taken over with --values; without pod logs the chart needs it no more";
        origin.changed(&pair.place, &what, text);
        chart::of_alloy(&pair.value, &format!("{what}."), origin);
    }
    if let Some(common) = at(values, &["collectorCommon", "alloy"]) {
        chart::of_alloy(common, "collectorCommon.alloy.", origin);
    }
}
