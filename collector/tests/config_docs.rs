//! docs/configuration.md and docs/metrics.md say what is true: every key with its default, every metric with its help. The
//! chart's dashboard and alerts ask for nothing that is not there.

use std::{collections::BTreeMap, fs, path::PathBuf};

use collector::{
    compiled::Compiled,
    config::Config,
    metrics::PartMetrics,
    output::loki::PushStatus,
    pipeline::{Level, LineCounts},
    status::{
        Backend, Metrics, Reason,
        exposition::{Format, encode},
    },
    tail::{ContainerLabels, FormatLabel},
};

fn page(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Keys with their defaults as YAML: those that hold no other keys.
fn defaults() -> BTreeMap<String, String> {
    fn walk(path: &str, value: &serde_json::Value, leaves: &mut BTreeMap<String, String>) {
        match value {
            serde_json::Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(&path, value, leaves);
                }
            }
            serde_json::Value::String(text) if !text.is_empty() => {
                leaves.insert(path.to_owned(), text.clone());
            }
            value => {
                leaves.insert(path.to_owned(), value.to_string());
            }
        }
    }
    let mut leaves = BTreeMap::new();
    walk("", &serde_json::to_value(Config::default()).unwrap(), &mut leaves);
    leaves
}

/// The first two cells, without their backquotes, of each row of a page's tables whose first cell is code.
fn rows(page: &str) -> Vec<(String, String)> {
    let code = |cell: &str| cell.trim().strip_prefix('`')?.strip_suffix('`').map(str::to_owned);
    page.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|');
            Some((code(cells.next()?)?, code(cells.next()?)?))
        })
        .collect()
}

#[test]
fn the_configuration_page_lists_every_key_with_its_default_and_no_other() {
    let rows = rows(&page("configuration.md"));
    let documented: BTreeMap<String, String> = rows.iter().cloned().collect();
    assert_eq!(documented, defaults());
    assert_eq!(rows.len(), documented.len(), "a key stands in the page twice");
}

#[test]
fn every_yaml_example_of_a_page_about_the_configuration_is_a_good_one() {
    let pages = ["configuration.md", "labels.md", "migration.md", "pipeline.md"].map(page);
    let examples: Vec<&str> = pages
        .iter()
        .flat_map(|page| page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()))
        .collect();
    assert!(examples.len() >= 5, "{}", examples.len());
    for example in examples {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), example).unwrap();
        let loaded = Compiled::load(Some(file.path()), &|_| None);
        assert!(loaded.is_ok(), "{}\n{example}", loaded.unwrap_err());
    }
}

/// What a scrape shows when everything has happened once: families without a series are left out of it.
fn full_scrape() -> String {
    let mut all = Metrics::new();
    let PartMetrics { tail, loki, watch, .. } = PartMetrics::new(&mut all);
    let line_counts = LineCounts::default();
    line_counts.row("n", "a").count(Level::Error);
    all.collect(Box::new(line_counts));
    tail.parsed_lines.get_or_create(&FormatLabel { format: "cri" }).inc();
    all.dropped_lines.add("some", 1);
    let counted_by_reason =
        [&tail.malformed_lines, &tail.skipped_files, &watch.kubernetes_errors, &loki.refused_streams];
    for family in counted_by_reason {
        family.get_or_create(&Reason { reason: "some" }).inc();
    }
    tail.excluded_containers.get_or_create(&Reason { reason: "some" }).set(1);
    loki.push_requests.get_or_create(&PushStatus { status: "204".into() }).inc();
    for family in [&tail.signal_backend, &tail.reader_backend, &watch.metadata_backend] {
        family.get_or_create(&Backend { backend: "b".into(), fallback_reason: String::new() }).set(1);
    }
    let [namespace, pod, container] = ["n", "p", "c"].map(str::to_owned);
    let labels = ContainerLabels { namespace, pod, container };
    tail.set_lags([((), 1)].into_iter(), |()| labels.clone());
    encode(all.registry(), Format::Prometheus).unwrap()
}

/// Name, type and help of every metric in a scrape, and the names of its samples.
fn families(scrape: &str) -> (BTreeMap<String, (String, String)>, Vec<String>) {
    let (mut families, mut samples, mut help) = (BTreeMap::new(), Vec::new(), None);
    for line in scrape.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let (of, text) = help.take().unwrap_or_else(|| panic!("{name} has no HELP"));
            assert_eq!(of, name, "HELP and TYPE of different names");
            assert!(families.insert(name.to_owned(), (kind.to_owned(), text.to_owned())).is_none(), "{name} twice");
        } else {
            samples.push(line.split(['{', ' ']).next().unwrap().to_owned());
        }
    }
    (families, samples)
}

#[test]
fn every_metric_has_help_and_type_the_prefix_and_its_unit_in_the_name() {
    let (families, samples) = families(&full_scrape());
    for sample in &samples {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let name = sample.strip_suffix(suffix)?;
            families.get(name).filter(|(kind, _)| kind == "histogram").map(|_| name)
        });
        assert!(families.contains_key(family.unwrap_or(sample)), "{sample} has neither HELP nor TYPE");
    }
    for (name, (kind, help)) in &families {
        assert!(name.starts_with("pilcrow_") || name.starts_with("process_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        let stem = name.strip_suffix("_total").unwrap_or(name);
        let help = help.to_lowercase();
        let unit =
            [("bytes", "_bytes"), ("encoded bytes", "_bytes"), ("compressed bytes", "_bytes"), ("time ", "_seconds")];
        for (word, suffix) in unit {
            assert!(!help.starts_with(word) || stem.ends_with(suffix), "{name} counts {word} and does not say so");
        }
    }
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "pilcrow_build_info"]
    {
        assert!(families.contains_key(name), "{name}");
    }
}

#[test]
fn the_metrics_page_lists_every_metric_as_it_is_served() {
    let (families, _) = families(&full_scrape());
    let table: Vec<String> =
        families.iter().map(|(name, (kind, help))| format!("| `{name}` | {kind} | {help} |")).collect();
    let page = page("metrics.md");
    let listed: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(listed, table, "docs/metrics.md should hold this table:\n{}\n", table.join("\n"));
}

/// The words of an expression that could be names, PromQL's own and labels' values among them.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Every `expr` below a dashboard's or a rule file's root.
fn expressions<'v>(value: &'v serde_json::Value, found: &mut Vec<&'v str>) {
    match value {
        serde_json::Value::Object(map) => {
            found.extend(map.get("expr").and_then(serde_json::Value::as_str));
            map.values().for_each(|value| expressions(value, found));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_and_the_alerts_name_only_metrics_and_labels_that_a_scrape_has() {
    let scrape = full_scrape();
    let (_, samples) = families(&scrape);
    let mut labels = vec!["instance", "node", "job"]; // Prometheus's own, and the monitors' of the chart
    labels.extend(scrape.split(['{', ',']).filter_map(|part| Some(part.split_once("=\"")?.0)));

    let files = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/pilcrow/files");
    let dashboard: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(files.join("dashboard.json")).unwrap()).unwrap();
    let alerts: serde_json::Value =
        serde_saphyr::from_str(&fs::read_to_string(files.join("alerts.yaml")).unwrap()).unwrap();
    for (name, file, least) in [("dashboard.json", dashboard, 25), ("alerts.yaml", alerts, 8)] {
        let mut all = Vec::new();
        expressions(&file, &mut all);
        // LogQL selects by a log's labels.
        let of_prometheus: Vec<_> =
            all.into_iter().filter(|expression| !expression.contains("namespace=~\"$namespace\"")).collect();
        assert!(of_prometheus.len() >= least, "{name} has only {} expressions", of_prometheus.len());
        for expression in of_prometheus {
            let asked: Vec<_> =
                words(expression).filter(|w| w.starts_with("pilcrow_") || w.starts_with("process_")).collect();
            assert!(!asked.is_empty(), "{name}: {expression} asks for nothing of Pilcrow's");
            for metric in asked {
                assert!(samples.iter().any(|sample| sample == metric), "{name}: there is no {metric}");
            }
            let grouped = expression.split(" by (").skip(1).chain(expression.split(" on (").skip(1));
            for label in grouped.flat_map(|rest| words(rest.split(')').next().unwrap())) {
                assert!(labels.contains(&label), "{name}: no metric has the label {label}");
            }
        }
    }
}

#[test]
fn the_operations_page_speaks_of_no_metric_that_is_not_there() {
    let scrape = full_scrape();
    let (_, samples) = families(&scrape);
    let page = page("operations.md");
    let spoken_of: Vec<_> = words(&page).filter(|word| word.starts_with("pilcrow_")).collect();
    assert!(spoken_of.len() > 10, "{spoken_of:?}");
    for metric in spoken_of {
        assert!(samples.iter().any(|sample| sample == metric), "there is no {metric}");
    }
}
