//! The Grafana Agent's static mode: Promtail's clients and jobs below `logs.configs`.
//!
//! In: the tree of a file. Out: [`Origin`]. What collects no logs is named and left out.

use super::{
    origin::{Finding, Kind, Origin, Setting, Tree},
    promtail,
};

/// Reads a whole configuration of the Agent.
pub fn read(root: &Tree, origin: &mut Origin) {
    let root = promtail::in_our_spelling(root);
    for pair in root.pairs() {
        match pair.key.as_str() {
            "server" => promtail::server(&pair.value, origin),
            // Its name before version 0.21.
            "logs" | "loki" => logs(&pair.value, &pair.key, origin),
            key if does_nothing(key, &pair.value) => {
                origin.taken(&pair.place, key, "collects nothing, so that nothing is lost without it");
            }
            key => {
                let text =
                    "collects no logs: keep the Agent for it, or move it to Grafana Alloy, and take the logs out there";
                origin.not_possible(&pair.place, key, text);
            }
        }
    }
}

/// Whether a part of the Agent that is not for logs has nothing to collect: `metrics` and `traces` without `configs`, no integration that is on.
fn does_nothing(key: &str, value: &Tree) -> bool {
    let has_configs = value.get("configs").is_some_and(|pair| !pair.value.items().is_empty());
    let is_off = |tree: &Tree| tree.get("enabled").and_then(|pair| pair.value.as_text()) == Some("false");
    let is_setting = |key: &str| {
        key.starts_with("prometheus_")
            || key.starts_with("scrape_")
            || key == "metrics"
            || key == "replace_instance_label"
    };
    match key {
        "metrics" | "prometheus" | "traces" | "tempo" => !has_configs,
        "integrations" => value.pairs().iter().all(|pair| is_setting(&pair.key) || is_off(&pair.value)),
        _ => false,
    }
}

fn logs(group: &Tree, what: &str, origin: &mut Origin) {
    let global = group.get("global").map(|pair| &pair.value);
    let directory = group.get("positions_directory");
    for pair in group.pairs() {
        match pair.key.as_str() {
            "configs" => {
                pair.value.is_list(&format!("{what}.configs"), &mut origin.findings);
            }
            "positions_directory" => {
                let text = "Pilcrow keeps its own positions in paths.state; `pilcrow import-positions` takes the old file over, see below";
                origin.changed(&pair.place, "positions_directory", text);
            }
            "global" => {
                for pair in pair.value.pairs().iter().filter(|pair| pair.key != "clients") {
                    let text = "growth is reported by the kernel; sweep.interval is the safety net";
                    origin.taken(&pair.place, &format!("{what}.global.{}", pair.key), text);
                }
            }
            key => origin.changed(&pair.place, &format!("{what}.{key}"), "is no key of logs that is known; left out"),
        }
    }
    for (index, config) in group.get("configs").map(|pair| pair.value.items()).unwrap_or_default().iter().enumerate() {
        let what = format!("{what}.configs[{index}]");
        let (first, settings) = (origin.pipelines.len(), origin.settings.len());
        let findings = origin.findings.len();
        instance(config, &what, global, origin);
        if origin.pipelines.len() > first {
            // What is told of it matters where one of its jobs is converted.
            let own = origin.findings.split_off(findings);
            origin.pipelines[first..].iter_mut().for_each(|pipeline| pipeline.findings.extend(own.iter().cloned()));
        }
        let settings = origin.settings.split_off(settings);
        let name = config.get("name").and_then(|pair| pair.value.as_text());
        let in_directory = directory.zip(name).map(|(directory, name)| {
            let file = format!("{}/{name}.yml", directory.value.as_text().unwrap_or("").trim_end_matches('/'));
            Setting::new("positions", Tree::text(&directory.value.place, file), "positions_directory")
        });
        let positions = origin.positions.take().or(in_directory);
        for pipeline in &mut origin.pipelines[first..] {
            pipeline.positions.clone_from(&positions);
            pipeline.settings.splice(0..0, settings.iter().cloned());
        }
    }
}

fn instance(config: &Tree, what: &str, global: Option<&Tree>, origin: &mut Origin) {
    let first_client = origin.clients.len();
    let own = config.get("clients").map(|pair| (&pair.value, format!("{what}.clients")));
    let shared =
        global.and_then(|global| global.get("clients")).map(|pair| (&pair.value, "logs.global.clients".to_owned()));
    if let Some((clients, what)) = own.or(shared) {
        promtail::clients(clients, &what, origin);
    }
    for pair in config.pairs() {
        match pair.key.as_str() {
            "clients" | "scrape_configs" => {}
            "name" => origin.findings.push(Finding::new(
                Kind::Taken,
                &pair.place,
                format!("{what}.name"),
                "there is one set of logs",
            )),
            "positions" => promtail::positions(&pair.value, origin),
            "limits_config" => promtail::limits(&pair.value, origin),
            "target_config" => {
                let text = "new files are reported by the kernel; sweep.interval is the safety net";
                origin.taken(&pair.place, &format!("{what}.target_config"), text);
            }
            key => origin.changed(&pair.place, &format!("{what}.{key}"), "is no key of logs that is known; left out"),
        }
    }
    if let Some(pair) = config.get("scrape_configs") {
        promtail::scrape_configs(&pair.value, &format!("{what}.scrape_configs"), first_client, origin);
    }
}
