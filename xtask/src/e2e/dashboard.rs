//! The LogQL of the chart's dashboard, asked of a real Loki that holds a run's lines.
//!
//! In: a Loki. Out: an error unless it answers every panel, and those that choose by labels alone with something. PromQL is
//! not Loki's: its metric names are compared with a scrape in the collector's tests.

use std::fs;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::logql::{Client, Range};
use crate::helm;

/// What Grafana puts in for its variables, but for `$cluster`.
const VARIABLES: [(&str, &str); 7] = [
    ("$namespace", ".+"),
    ("$app", ".*"),
    ("$pod", ".*"),
    ("$container", ".*"),
    ("$__auto", "5m"),
    ("$__range", "1h"),
    ("$text", ""),
];

/// Asks for every panel with `cluster` chosen.
pub fn is_answered(client: &Client, cluster: &str, range: Range) -> anyhow::Result<()> {
    let expressions = expressions()?;
    for expression in &expressions {
        let query = expression.replace("$cluster", cluster);
        let results = client.results(&query, range).with_context(|| format!("Loki does not take {query}"))?;
        // A panel that filters by text or by level may find nothing.
        ensure!(
            results > 0 || query.contains("|~") || query.contains("| detected_level"),
            "Loki has nothing for {query}"
        );
    }
    println!("Loki answers all {} LogQL expressions of the dashboard", expressions.len());
    Ok(())
}

/// Its LogQL, with values for all variables but `$cluster`.
pub fn expressions() -> anyhow::Result<Vec<String>> {
    let file = helm::chart().join("files/dashboard.json");
    let dashboard: Value = serde_json::from_slice(&fs::read(&file)?).context("the dashboard is no JSON")?;
    let targets = dashboard["panels"].as_array().into_iter().flatten().flat_map(|panel| panel["targets"].as_array());
    let of_loki = targets.flatten().filter(|target| target["datasource"]["type"] == "loki");
    let with_values = |expression: &str| {
        VARIABLES.iter().fold(expression.to_owned(), |query, (name, value)| query.replace(name, value))
    };
    let found: Vec<_> = of_loki.filter_map(|target| target["expr"].as_str()).map(with_values).collect();
    ensure!(!found.is_empty(), "{} asks Loki for nothing", file.display());
    Ok(found)
}
