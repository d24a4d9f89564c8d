//! Promtail's YAML, alone or as the Grafana Agent and charts embed it.
//!
//! In: the tree of a file, as it is written. Out: [`Origin`]. Every key is found in the tables of [`keys`] or is reported.

pub mod arguments;
pub mod chart;
mod client;
pub mod keys;
mod scrape;
pub mod template;
pub mod walk;

pub use self::{
    client::{PASSWORD_FILE, TLS_FILES, TOKEN_FILE, braced, secret_variable, with_user, without_user},
    scrape::{fixed, is_own_cluster},
};

use self::walk::Walk;
use super::origin::{Finding, Kind, NODE_NAME, Origin, Setting, Tree, Value, our_variable_name, spelled};

/// Where Promtail keeps its positions if nothing says it (`-positions.file`).
const POSITIONS: &str = "/var/log/positions.yaml";

/// The keys at the top that have readers of their own.
const READ: [&str; 7] =
    ["server", "client", "clients", "positions", "limits_config", "target_config", "scrape_configs"];

/// Reads a whole configuration of Promtail.
pub fn read(root: &Tree, origin: &mut Origin) {
    let root = in_our_spelling(root);
    for pair in root.pairs() {
        match pair.key.as_str() {
            "server" => server(&pair.value, origin),
            "client" => client::read(&pair.value, "client", origin),
            "clients" => clients(&pair.value, "clients", origin),
            "positions" => positions(&pair.value, origin),
            "limits_config" => limits(&pair.value, origin),
            "target_config" => {
                let Origin { settings, findings, .. } = origin;
                let to_read = Walk { settings, findings }.group(&pair.value, "target_config", keys::TARGET);
                for (_, pair) in to_read.into_iter().filter(|(_, pair)| pair.value.as_text() == Some("true")) {
                    let text = "`pilcrow try --stdin` shows what becomes of lines, and sends none; pipe them into promtail --stdin to send \
                                them";
                    findings.push(Finding::new(Kind::NotPossible, &pair.place, "target_config.stdin", text));
                }
            }
            _ => {}
        }
    }
    note_node_names(origin);
    if let Some(pair) = root.get("scrape_configs") {
        scrape_configs(&pair.value, "scrape_configs", 0, origin);
    }
    if origin.positions.is_none() {
        let file = Tree::text(&root.place, POSITIONS);
        origin.positions = Some(Setting::new("positions", file, "Promtail's default"));
    }
    let in_table = |key: &str| keys::TOP.iter().any(|(known, _)| known.split('.').next() == Some(key));
    let mut rest = Vec::new();
    for pair in root.pairs().iter().filter(|pair| !READ.contains(&pair.key.as_str())) {
        if in_table(&pair.key) || pair.value.value == Value::Nothing {
            rest.push(pair.clone());
        } else {
            let known = READ.into_iter().chain(keys::TOP.iter().filter_map(|(key, _)| key.split('.').next()));
            origin.not_possible(&pair.place, &pair.key, walk::unknown_key(&pair.key, known));
        }
    }
    let Origin { settings, findings, .. } = origin;
    Walk { settings, findings }.group(&Tree { place: root.place, value: Value::Group(rest) }, "", keys::TOP);
}

/// Reads the arguments of Promtail's own pods, beside its file.
pub fn of_pods(list: &Tree, above: &str, origin: &mut Origin) {
    let settings = origin.settings.len();
    chart::arguments(list, above, origin);
    note_node_names(origin);
    // They hold for the jobs of its file, and count more than that.
    let new = origin.settings.split_off(settings);
    match origin.pipelines.as_mut_slice() {
        [] => origin.settings.extend(new),
        all => all.iter_mut().for_each(|pipeline| pipeline.settings.extend(new.iter().cloned())),
    }
}

/// Reports labels with the name of the node.
pub fn note_node_names(origin: &mut Origin) {
    for client in &mut origin.clients {
        let variable = format!("${{{NODE_NAME}}}");
        let names_node = |label: &&Setting| label.value.as_text().is_some_and(|text| text.contains(&variable));
        for label in client.labels.iter().filter(names_node) {
            client.findings.retain(|finding| finding.kind != Kind::Taken || finding.what != label.from);
            let text =
                format!("{}, with {variable} for HOSTNAME: Pilcrow's chart sets it to the name of the node", label.key);
            client.findings.push(Finding::new(Kind::Changed, &label.value.place, &label.from, text));
        }
    }
}

/// Reads a list of clients whose texts are in Pilcrow's spelling.
pub fn clients(list: &Tree, what: &str, origin: &mut Origin) {
    list.is_list(what, &mut origin.findings);
    for (index, item) in list.items().iter().enumerate() {
        client::read(item, &format!("{what}[{index}]"), origin);
    }
}

/// Reads a list of jobs whose texts are in Pilcrow's spelling. Their lines go to the clients from the one with this number on.
pub fn scrape_configs(list: &Tree, what: &str, first_client: usize, origin: &mut Origin) {
    list.is_list(what, &mut origin.findings);
    let clients: Vec<usize> = (first_client..origin.clients.len()).collect();
    for (index, item) in list.items().iter().enumerate() {
        scrape::read(item, &format!("{what}[{index}]"), &clients, origin);
    }
}

/// Where Promtail keeps its positions, and how often it saves them.
pub fn positions(group: &Tree, origin: &mut Origin) {
    let Origin { settings, findings, positions, .. } = origin;
    for (_, pair) in (Walk { settings, findings }).group(group, "positions", keys::POSITIONS) {
        let text = "Pilcrow keeps its own in paths.state; `pilcrow import-positions` takes this file over, see below";
        findings.push(Finding::new(Kind::Changed, &pair.place, "positions.filename", text));
        *positions = Some(Setting::new("positions", pair.value.clone(), "positions.filename"));
    }
}

/// Limits of lines.
pub fn limits(group: &Tree, origin: &mut Origin) {
    let Origin { settings, findings, .. } = origin;
    let is_cut = group.get("max_line_size_truncate").is_some_and(|pair| pair.value.as_text() == Some("true"));
    for (key, pair) in (Walk { settings, findings }).group(group, "limits_config", keys::LIMITS) {
        let what = format!("limits_config.{key}");
        let text = pair.value.as_text().unwrap_or("");
        if key == "max_line_size_truncate" {
            if text == "true" {
                settings.push(Setting::new("lines.oversize", Tree::text(&pair.value.place, "cut"), &what));
            }
            let text = if text == "true" { "lines.oversize: cut" } else { "no longer line is dropped: it is split" };
            findings.push(Finding::new(Kind::Taken, &pair.place, what, text));
            continue;
        }
        match walk::bytes(text) {
            Some(bytes) if bytes != "0" => {
                let text = "lines.max_bytes; Promtail drops longer lines, Pilcrow splits them into several entries";
                let (kind, text) = if is_cut { (Kind::Taken, "lines.max_bytes") } else { (Kind::Changed, text) };
                findings.push(Finding::new(kind, &pair.place, &what, text));
                settings.push(Setting::new("lines.max_bytes", Tree::text(&pair.value.place, bytes), what));
            }
            _ => {
                let text = "Pilcrow has a limit, lines.max_bytes (256KiB), as Loki has one: longer lines are split";
                findings.push(Finding::new(Kind::Changed, &pair.place, what, text));
            }
        }
    }
}

/// The server of its own metrics.
pub fn server(group: &Tree, origin: &mut Origin) {
    let Origin { settings, findings, .. } = origin;
    let (mut address, mut port) = (None, None);
    for (key, pair) in (Walk { settings, findings }).group(group, "server", keys::SERVER) {
        let what = format!("server.{key}");
        let text = pair.value.as_text().unwrap_or("");
        match key {
            "http_listen_port" if text == "0" => {
                let text = "Promtail takes a free port, Pilcrow port 9080 (http.listen)";
                findings.push(Finding::new(Kind::Changed, &pair.place, what, text));
            }
            "http_listen_port" => {
                findings.push(Finding::new(Kind::Taken, &pair.place, what, "http.listen"));
                port = Some(pair);
            }
            "http_listen_address" => {
                findings.push(Finding::new(Kind::Taken, &pair.place, what, "http.listen"));
                address = Some(pair);
            }
            _ => {
                let is_json = text == "json";
                let (kind, new) = if is_json { (Kind::Taken, "json") } else { (Kind::Changed, "text") };
                findings.push(Finding::new(kind, &pair.place, &what, format!("log.format: {new}")));
                if is_json {
                    settings.push(Setting::new("log.format", Tree::text(&pair.value.place, new), what));
                }
            }
        }
    }
    if let Some(pair) = port.or(address) {
        let text = |pair: Option<&super::origin::Pair>| pair.and_then(|pair| pair.value.as_text()).map(str::to_owned);
        let port = text(port).unwrap_or_else(|| "9080".into());
        let address = match text(address) {
            Some(address) if address == "localhost" => "127.0.0.1".into(),
            Some(address) if address.contains(':') && !address.starts_with('[') => format!("[{address}]"),
            Some(address) if !address.is_empty() => address,
            _ => "[::]".into(),
        };
        let listen = Tree::text(&pair.value.place, format!("{address}:{port}"));
        settings.push(Setting::new("http.listen", listen, "server.http_listen_port"));
    }
}

/// All texts as a file of Pilcrow has them. `${NAME}` in capitals is a variable, as it is for Promtail with
/// `-config.expand-env`; any other `$` is a plain one.
#[must_use]
pub fn in_our_spelling(tree: &Tree) -> Tree {
    tree.map_texts(&respelled)
}

fn respelled(text: &str) -> String {
    let (mut new, mut plain, mut rest) = (String::new(), String::new(), text);
    while let Some(at) = rest.find("${") {
        plain.push_str(&rest[..at]);
        let behind = &rest[at + 2..];
        match behind.split_once('}').and_then(|(variable, tail)| Some((our_variable(variable)?, tail))) {
            Some((variable, tail)) if !plain.ends_with('$') => {
                new.push_str(&spelled(&plain));
                new.push_str(&variable);
                plain.clear();
                rest = tail;
            }
            _ => {
                plain.push_str("${");
                rest = behind;
            }
        }
    }
    plain.push_str(rest);
    new + &spelled(&plain)
}

/// `${NAME}` or `${NAME:-default}`; Promtail also writes `${NAME:default}`.
fn our_variable(text: &str) -> Option<String> {
    let (name, default) = match text.split_once(':') {
        Some((name, default)) => (name, Some(default.strip_prefix('-').unwrap_or(default))),
        None => (text, None),
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let is_plain = default.is_none_or(|default| !default.contains(['$', '{']));
    let name = our_variable_name(name);
    (is_name && is_plain).then(|| match default {
        Some(default) => format!("${{{name}:-{default}}}"),
        None => format!("${{{name}}}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_capitals_stay_and_other_dollars_are_plain() {
        for (text, expected) in [
            ("http://${LOKI_HOST}:3100", "http://${LOKI_HOST}:3100"),
            ("${CLUSTER:home}", "${CLUSTER:-home}"),
            ("${C}", "${C}"),
            ("$1-${2}", "$1-${2}"),
            ("${name}", "$${name}"),
            ("^a$", "^a$"),
            ("a$$b", "a$$$$b"),
            ("$${X}", "$$$${X}"),
        ] {
            assert_eq!(respelled(text), expected, "{text}");
        }
    }
}
