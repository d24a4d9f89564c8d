//! Which plots the documents have, and what is in them.
//!
//! In: the figures of docs/data/benchmarks.json. Out: charts, each with where its figures come from.

use super::{
    chart::{Chart, Kind, Panel, Row, Value},
    data::{Benchmarks, Collector, OURS, Scenario, SideBySide, Stages, ThisVersion},
    scale::Scale,
};

/// Scenarios that are columns of the table and have another name in a plot.
const NAMES: [(&str, &str); 7] = [
    ("floor", "floor: read, compress, send"),
    ("backlog", "backlog, 10 files"),
    ("steady", "10,000 lines/s, 30 files"),
    ("rotate", "10,000 lines/s, rotating"),
    ("docker", "backlog, docker's format"),
    ("idle", "idle, 110 containers"),
    ("these, idle", "the same, then idle"),
];

/// File names in docs/pictures and pictures.
pub fn all(benchmarks: &Benchmarks) -> Vec<(&'static str, String)> {
    let Benchmarks { this_version, side_by_side, stages } = benchmarks;
    [
        ("plot-cpu.svg", cpu(side_by_side)),
        ("plot-memory.svg", memory(side_by_side)),
        ("plot-steady.svg", steady(side_by_side)),
        ("plot-scenarios.svg", scenarios(this_version)),
        ("plot-files.svg", files(this_version)),
        ("plot-stages.svg", with_stages(stages)),
    ]
    .map(|(name, chart)| (name, chart.svg()))
    .into()
}

fn cpu(all: &SideBySide) -> Chart {
    let mut rows = rows_of(all, |it| it.cpu_s_per_million_lines);
    let ours = all.collectors.first().and_then(|it| it.cpu_s_per_million_lines);
    let mut caption = caption_of(all);
    if let (Some(ratio), Some(ours)) = (all.floor_ratio, ours) {
        let floor = (100.0 * ours / ratio).round() / 100.0;
        rows.insert(0, value("floor", "see caption", floor, Kind::Floor));
        caption.push(format!(
            "Floor: a program that only reads, splits, encodes, compresses and sends. Pilcrow took {ratio} times its CPU time, \
             from which its value is calculated: {ours} / {ratio}."
        ));
    }
    caption.push("The scale is logarithmic: each step is about twice the one before.".into());
    let panel =
        Panel { heading: "CPU-seconds per million lines, less is better".into(), scale: Scale::Logarithmic, rows };
    Chart { title: "What a million lines of backlog cost".into(), panels: vec![panel], caption }
}

fn memory(all: &SideBySide) -> Chart {
    let heading = format!("Peak memory, {}, less is better", all.memory_unit);
    let panel = Panel { heading, scale: Scale::FromZero, rows: rows_of(all, |it| it.peak) };
    Chart { title: "Memory while the backlog is sent".into(), panels: vec![panel], caption: caption_of(all) }
}

fn steady(all: &SideBySide) -> Chart {
    let rows = rows_of(all, |it| it.core_percent);
    let panel = Panel { heading: "% of one core, less is better".into(), scale: Scale::Logarithmic, rows };
    let mut caption = caption_of(all);
    caption.push("The scale is logarithmic.".into());
    Chart { title: "What 10,000 lines a second cost".into(), panels: vec![panel], caption }
}

fn rows_of(all: &SideBySide, figure: impl Fn(&Collector) -> Option<f64>) -> Vec<Row> {
    let row = |it: &Collector| {
        let note = [it.version.as_str(), it.tuned.as_str()].into_iter().filter(|text| !text.is_empty());
        let kind = if it.name == OURS { Kind::Ours } else { Kind::Other };
        let note = note.collect::<Vec<_>>().join(", ");
        Some(Row::Value(Value { name: it.name.clone(), note, value: figure(it)?, kind, loses_lines: it.loses_lines }))
    };
    all.collectors.iter().filter_map(row).collect()
}

fn caption_of(all: &SideBySide) -> Vec<String> {
    vec![format!("{}, {}. {}", capitalized(&all.machine), all.day, all.source)]
}

fn scenarios(run: &ThisVersion) -> Chart {
    let row = |it: &Scenario, value: Option<f64>| {
        let kind = if it.name == "floor" { Kind::Floor } else { Kind::Ours };
        Some(self::value(&name_of(&it.name), "", value?, kind))
    };
    let rows = |figure: &dyn Fn(&Scenario) -> Option<f64>| {
        run.scenarios.iter().filter_map(|it| row(it, figure(it))).collect::<Vec<_>>()
    };
    let latency = run.scenarios.iter().flat_map(|it| {
        let quantiles = ["half of the lines", "99%", "99.9%"].into_iter().zip(it.latency_ms.into_iter().flatten());
        let group = it.latency_ms.map(|_| Row::Group(name_of(&it.name)));
        group.into_iter().chain(quantiles.map(|(name, value)| self::value(name, "", value, Kind::Ours)))
    });
    Chart {
        title: "This version by scenario".into(),
        panels: vec![
            panel("CPU-seconds per million lines", rows(&|it| it.cpu_s_per_million_lines)),
            panel("Peak resident MiB", rows(&|it| Some(it.peak_mib))),
            panel("From a line's timestamp to the sink, ms, within", latency.collect()),
        ],
        caption: vec![source_of(run)],
    }
}

/// Whatever was measured with several numbers of files, fewest first.
fn files(run: &ThisVersion) -> Chart {
    let scenario = |name: &str| run.scenarios.iter().find(|it| it.name == name);
    let many = run.scenarios.iter().filter(|it| number_of_files(it).is_some());
    let mut sending: Vec<_> = scenario("backlog").map(|it| (10, it)).into_iter().collect();
    sending.extend(many.filter_map(|it| Some((number_of_files(it)?, it))));
    sending.sort_by_key(|(files, _)| *files);
    let most = sending.last().map_or(0, |(files, _)| *files);
    let idle: Vec<_> = [(110, scenario("idle")), (most, scenario("these, idle"))]
        .into_iter()
        .filter_map(|(n, it)| Some((n, it?)))
        .collect();
    let rows = |all: &[(u64, &Scenario)], what: &str, figure: &dyn Fn(&Scenario) -> Option<f64>| {
        all.iter()
            .filter_map(|(files, it)| Some(value(&format!("{files} {what}"), "", figure(it)?, Kind::Ours)))
            .collect::<Vec<_>>()
    };
    Chart {
        title: "Cost against the number of files".into(),
        panels: vec![
            panel("Backlog: CPU-seconds per million lines", rows(&sending, "files", &|it| it.cpu_s_per_million_lines)),
            panel("Backlog: peak resident MiB", rows(&sending, "files", &|it| Some(it.peak_mib))),
            panel("Idle: % of one core", rows(&idle, "containers", &|it| Some(it.core_percent))),
            panel("Idle: resident MiB", rows(&idle, "containers", &|it| Some(it.resident_mib))),
        ],
        caption: vec![source_of(run)],
    }
}

/// Of a scenario that is called by it, such as `9500 files`.
fn number_of_files(scenario: &Scenario) -> Option<u64> {
    scenario.name.strip_suffix(" files")?.parse().ok()
}

fn with_stages(stages: &Stages) -> Chart {
    let rows = stages.rows.iter().flat_map(|row| {
        [
            Row::Group(row.what.clone()),
            value(OURS, "", row.pilcrow, Kind::Ours),
            value(&stages.peer, &stages.version, row.peer, Kind::Other),
        ]
    });
    let Stages { machine, commit, command, .. } = stages;
    Chart {
        title: "A backlog through pipeline stages".into(),
        panels: vec![Panel {
            heading: "CPU-seconds per million lines, less is better".into(),
            scale: Scale::Logarithmic,
            rows: rows.collect(),
        }],
        caption: vec![
            format!("{machine}, commit {commit}, {command}."),
            "The same stages in both, one run. The scale is logarithmic.".into(),
        ],
    }
}

fn panel(heading: &str, rows: Vec<Row>) -> Panel {
    Panel { heading: heading.into(), scale: Scale::FromZero, rows }
}

fn value(name: &str, note: &str, value: f64, kind: Kind) -> Row {
    Row::Value(Value { name: name.into(), note: note.into(), value, kind, loses_lines: false })
}

fn name_of(scenario: &str) -> String {
    let known = NAMES.iter().find(|(name, _)| *name == scenario);
    known.map_or_else(|| scenario.to_owned(), |(_, name)| (*name).to_owned())
}

fn source_of(run: &ThisVersion) -> String {
    let ThisVersion { machine, day, commit, command, .. } = run;
    format!("{machine}, {day}, commit {commit}, {command}.")
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
