//! Values of Promtail's chart (grafana/helm-charts charts/promtail, 6.x).
//!
//! In: the tree of a values file and its text. Out: [`Origin`]. Templates in its texts are filled in by [`super::template`].

use super::{arguments::without_effect, client, template};
use crate::{
    admin::migrate::{
        chart,
        origin::{Client, Fault, Finding, Kind, Origin, Pair, Pipeline, Place, Setting, Source, Text, Tree, Value},
        recognise::at,
        words::nearest,
        yaml,
    },
    config::Preset,
    pipeline::relabel,
};

/// Where the chart sends lines by default.
const DEFAULT_URL: &str = "http://loki-gateway/loki/api/v1/push";

/// Where a value comes from that the values do not have.
const BY_DEFAULT: &str = "the chart's default";

/// Where the chart keeps positions on the node.
const POSITIONS: &str = "/run/promtail/positions.yaml";

const SNIPPETS: [&str; 8] = [
    "pipelineStages",
    "common",
    "addScrapeJobLabel",
    "extraLimitsConfig",
    "extraServerConfigs",
    "scrapeConfigs",
    "extraScrapeConfigs",
    "extraRelabelConfigs",
];

/// The values below `config`.
const CONFIG: [&str; 10] = [
    "clients",
    "enableTracing",
    "enabled",
    "file",
    "logFormat",
    "logLevel",
    "lokiAddress",
    "positions",
    "serverPort",
    "snippets",
];

/// Reads a values file.
///
/// # Errors
/// A text in it is no YAML, or has a template that is not known.
pub fn read(values: &Tree, outer: &Text<'_>, origin: &mut Origin) -> Result<(), Vec<Fault>> {
    chart::read(values, "", &["config", "extraArgs", "configmap", "loki"], origin);
    let none = Tree { place: values.place.clone(), value: Value::Group(Vec::new()) };
    let config = at(values, &["config"]).unwrap_or(&none);
    if let Some(file) =
        at(config, &["file"]).filter(|file| file.as_text().is_some_and(|text| text.contains("scrape_configs:\n  -")))
    {
        for root in template::filled(outer, file, &with_defaults(values)?)?.documents()? {
            super::read(&root, origin);
        }
        return Ok(());
    }
    let spelled = super::in_our_spelling(config);
    simple_keys(&spelled, origin);
    clients(&spelled, values, origin);
    if let Some(list) = at(values, &["extraArgs"]) {
        arguments(list, "extraArgs", origin);
    }
    super::note_node_names(origin);
    let snippets = at(config, &["snippets"]).unwrap_or(&none);
    for pair in snippets.pairs().iter().filter(|pair| !SNIPPETS.contains(&pair.key.as_str())) {
        unknown_value(pair, "config.snippets", &SNIPPETS, origin);
    }
    for (key, read) in
        [("extraLimitsConfig", super::limits as fn(&Tree, &mut Origin)), ("extraServerConfigs", super::server)]
    {
        if let Some(value) = at(snippets, &[key]) {
            for root in template::filled(outer, value, values)?.documents()? {
                read(&super::in_our_spelling(&root), origin);
            }
        }
    }
    if at(snippets, &["scrapeConfigs"]).is_none() {
        default_job(&super::in_our_spelling(snippets), origin)?;
    }
    for key in ["scrapeConfigs", "extraScrapeConfigs"] {
        let Some(value) = at(snippets, &[key]) else { continue };
        let what = format!("config.snippets.{key}");
        let lists = match value.as_text() {
            Some(_) => template::filled(outer, value, &with_defaults(values)?)?.documents()?,
            None => vec![value.clone()],
        };
        for list in lists {
            super::scrape_configs(&super::in_our_spelling(&list), &what, 0, origin);
        }
    }
    if origin.positions.is_none() {
        let file = Tree::text(&values.place, POSITIONS);
        origin.positions = Some(Setting::new("positions", file, BY_DEFAULT));
    }
    Ok(())
}

/// The keys of `config` that stand for one of Promtail's.
fn simple_keys(config: &Tree, origin: &mut Origin) {
    for pair in config.pairs() {
        let what = format!("config.{}", pair.key);
        let one = |key: &str| {
            let pair = Pair { key: key.into(), place: pair.place.clone(), value: pair.value.clone() };
            Tree { place: pair.place.clone(), value: Value::Group(vec![pair]) }
        };
        match pair.key.as_str() {
            "logLevel" => super::server(&one("log_level"), origin),
            "logFormat" => super::server(&one("log_format"), origin),
            "serverPort" => super::server(&one("http_listen_port"), origin),
            "positions" => super::positions(&pair.value, origin),
            "clients" | "snippets" | "file" | "lokiAddress" => {}
            "enabled" => origin.taken(&pair.place, &what, "there is always a configuration"),
            "enableTracing" => origin.changed(&pair.place, &what, "Pilcrow makes no traces of itself"),
            _ => unknown_value(pair, "config", &CONFIG, origin),
        }
    }
}

/// A value that the chart does not have; one that is only misspelt was meant to do something.
fn unknown_value(pair: &Pair, above: &str, known: &[&str], origin: &mut Origin) {
    let what = format!("{above}.{}", pair.key);
    match nearest(&pair.key, known.iter().copied()) {
        Some(nearest) => {
            let text = format!("is no value of the chart, and left out; did you mean {nearest}?");
            origin.not_possible(&pair.place, &what, text);
        }
        None => origin.changed(&pair.place, &what, "is no value of the chart that is known; left out"),
    }
}

fn clients(config: &Tree, values: &Tree, origin: &mut Origin) {
    if let Some(list) = at(config, &["clients"]) {
        return super::clients(list, "config.clients", origin);
    }
    let given = at(config, &["lokiAddress"]);
    let place = given.map_or(&values.place, |value| &value.place).clone();
    let from = if given.is_some() { "config.lokiAddress" } else { BY_DEFAULT };
    let text = format!("loki.url from {from}, as no client is named");
    let findings = vec![Finding::new(Kind::Changed, &place, "config.clients", text)];
    let url = Tree::text(&place, given.and_then(Tree::as_text).unwrap_or(DEFAULT_URL));
    let settings = vec![Setting::new("loki.url", url, from)];
    let (name, labels, chart) = ("config.clients".into(), Vec::new(), Vec::new());
    origin.clients.push(Client { name, place, settings, labels, chart, findings });
}

/// Reads arguments of Promtail; `above`: how their list is called.
pub fn arguments(list: &Tree, above: &str, origin: &mut Origin) {
    list.is_list(above, &mut origin.findings);
    for argument in list.items() {
        let text = argument.as_text().unwrap_or("").trim_start_matches('-').to_owned();
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        let what = format!("{above} {name}");
        match name {
            "config.expand-env" => origin.taken(&argument.place, &what, "always on: ${NAME}, ${NAME:-default}"),
            "client.external-labels" => {
                for (label, value) in value.split(',').filter_map(|pair| pair.split_once('=')) {
                    let value = super::in_our_spelling(&Tree::text(&argument.place, filled(value)));
                    let key = format!("labels.{label}");
                    for client in &mut origin.clients {
                        // What the client itself says counts more.
                        if client.labels.iter().all(|known| known.key != key) {
                            client.findings.push(Finding::new(Kind::Taken, &argument.place, &what, &key));
                            client.labels.push(Setting::new(&key, value.clone(), &what));
                        }
                    }
                }
            }
            "client.url" | "client.tenant-id" => {
                let (key, new) = if name == "client.url" { ("url", "loki.url") } else { ("tenant_id", "loki.tenant") };
                let value = super::in_our_spelling(&Tree::text(&argument.place, filled(value)));
                let client = Tree::group(&argument.place, [(key, value)]);
                if name == "client.url" {
                    // Promtail sends to it beside those of its file.
                    client::read(&client, &format!("{above} client"), origin);
                    own_client_first(origin);
                } else {
                    let text = "is of the client that -client.url names: set loki.tenant if that is the one";
                    origin.changed(&argument.place, &what, format!("{text} ({new})"));
                }
            }
            "log.level" | "server.log-level" => {
                super::server(
                    &Tree::group(&argument.place, [("log_level", Tree::text(&argument.place, value))]),
                    origin,
                );
            }
            "log.format" | "server.log-format" => {
                super::server(
                    &Tree::group(&argument.place, [("log_format", Tree::text(&argument.place, value))]),
                    origin,
                );
            }
            "positions.file" => {
                super::positions(
                    &Tree::group(&argument.place, [("filename", Tree::text(&argument.place, value))]),
                    origin,
                );
            }
            "server.http-listen-port" | "server.http-listen-address" => {
                let key = if name.ends_with("port") { "http_listen_port" } else { "http_listen_address" };
                super::server(&Tree::group(&argument.place, [(key, Tree::text(&argument.place, value))]), origin);
            }
            _ if without_effect(name).is_some() => {
                origin.taken(&argument.place, &what, without_effect(name).unwrap_or_default());
            }
            _ => {
                let text = "Pilcrow has no such argument: look for a key that does it in docs/configuration.md";
                origin.not_possible(&argument.place, &what, text);
            }
        }
    }
}

/// A client of the arguments is one more; where the values have none of their own it takes the place of the chart's default.
fn own_client_first(origin: &mut Origin) {
    let is_default = |client: &Client| client.settings.iter().any(|setting| setting.from == BY_DEFAULT);
    if origin.clients.len() > 1 && is_default(&origin.clients[0]) {
        origin.clients.remove(0);
    }
}

/// Kubernetes fills `$(NAME)` into arguments.
fn filled(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once("$(") {
        let Some((name, tail)) = behind.split_once(')') else { break };
        text.push_str(&format!("{before}${{{name}}}"));
        rest = tail;
    }
    text + rest
}

/// What the chart makes where nobody gives it jobs: its preset, or the same rules with other ones in their middle.
fn default_job(snippets: &Tree, origin: &mut Origin) -> Result<(), Vec<Fault>> {
    let place = snippets.place.clone();
    for key in ["common", "extraRelabelConfigs", "pipelineStages"] {
        if let Some(value) = at(snippets, &[key]) {
            value.is_list(&format!("config.snippets.{key}"), &mut origin.findings);
        }
    }
    let list = |key: &str| at(snippets, &[key]).map(Tree::items).unwrap_or_default();
    let (mut relabel, mut source) = (Vec::new(), Source::Preset(Preset::PromtailChart));
    if at(snippets, &["common"]).is_some() {
        (relabel, source) = (head_rules(&place)?, Source::Api);
    }
    if let Some(pair) = snippets.get("addScrapeJobLabel").filter(|pair| pair.value.as_text() == Some("true")) {
        origin.taken(&pair.place, "config.snippets.addScrapeJobLabel", "a rule for scrape_job");
        let text = Text { place: pair.place.clone(), text: "{target_label: scrape_job, replacement: kubernetes-pods}" };
        relabel.extend(yaml::documents(&text)?);
    }
    for key in ["common", "extraRelabelConfigs"] {
        if let Some(pair) = snippets.get(key) {
            origin.taken(&pair.place, &format!("config.snippets.{key}"), "relabel_configs");
        }
        relabel.extend(list(key).iter().cloned());
    }
    let stages = match snippets.get("pipelineStages") {
        Some(pair) => {
            origin.taken(&pair.place, "config.snippets.pipelineStages", "pipeline_stages");
            list("pipelineStages").to_vec()
        }
        None => yaml::documents(&Text { place: place.clone(), text: "cri: {}" })?,
    };
    let clients = (0..origin.clients.len()).collect();
    let name = "kubernetes-pods".to_owned();
    let (settings, positions, attached, findings) = (Vec::new(), None, Vec::new(), Vec::new());
    let pipeline = Pipeline { name, place, source, relabel, stages, clients, settings, positions, attached, findings };
    origin.pipelines.push(pipeline);
    Ok(())
}

/// The values with those of the chart that its own templates name.
fn with_defaults(values: &Tree) -> Result<Tree, Vec<Fault>> {
    let place = &values.place;
    let defaults = "{serverPort: 3101, logLevel: info, logFormat: logfmt, snippets: {pipelineStages: [{cri: {}}], addScrapeJobLabel: false}}";
    let mut defaults = yaml::documents(&Text { place: place.clone(), text: defaults })?;
    let built_in =
        yaml::documents(&Text { place: place.clone(), text: relabel::built_in_yaml(Preset::PromtailChart) })?;
    let is_ours = |rule: &&Tree| {
        !rule
            .get("source_labels")
            .is_some_and(|pair| pair.value.items().iter().any(|name| name.as_text() == Some("__meta_pilcrow_stream")))
    };
    let common = built_in.iter().flat_map(|list| list.items().iter().skip(4)).filter(is_ours).cloned().collect();
    let Some(mut config) = defaults.pop() else { return Ok(values.clone()) };
    let common = Pair {
        key: "common".into(),
        place: place.clone(),
        value: Tree { place: place.clone(), value: Value::List(common) },
    };
    add(
        &mut config,
        Tree::group(place, [("snippets", Tree { place: place.clone(), value: Value::Group(vec![common]) })]),
    );
    let mut values = values.clone();
    add(&mut values, Tree::group(place, [("config", config.with_place(place))]));
    Ok(values)
}

/// Adds keys that are not there.
fn add(to: &mut Tree, defaults: Tree) {
    let (Value::Group(own), Value::Group(more)) = (&mut to.value, defaults.value) else { return };
    for pair in more {
        match own.iter_mut().find(|known| known.key == pair.key) {
            None => own.push(pair),
            Some(known) => add(&mut known.value, pair.value),
        }
    }
}

/// The rules that the chart puts before `common`: those of the preset up to the component. They have no place in the values.
fn head_rules(place: &Place) -> Result<Vec<Tree>, Vec<Fault>> {
    let yaml = relabel::built_in_yaml(Preset::PromtailChart);
    let lists = yaml::documents(&Text { place: place.clone(), text: yaml })?;
    Ok(lists.iter().flat_map(|list| list.items().iter().take(4).map(|rule| rule.with_place(place))).collect())
}
