//! Where the chart sends lines.
//!
//! In: the values, their texts in Pilcrow's spelling. Out: a client for each destination of the type `loki`, with the labels that the
//! chart adds behind all stages.

use crate::admin::migrate::{
    origin::{Client, Finding, Kind, Origin, Pair, Place, Setting, Tree, Value},
    promtail::{self, PASSWORD_FILE, TOKEN_FILE},
    recognise::at,
};

/// How a destination's keys are called in Promtail.
const CLIENT: [(&str, &[&str]); 20] = [
    ("url", &["url"]),
    ("tenantId", &["tenant_id"]),
    ("batchSize", &["batchsize"]),
    ("batchWait", &["batchwait"]),
    ("remoteTimeout", &["timeout"]),
    ("minBackoffPeriod", &["backoff_config", "min_period"]),
    ("maxBackoffPeriod", &["backoff_config", "max_period"]),
    ("maxBackoffRetries", &["backoff_config", "max_retries"]),
    ("proxyURL", &["proxy_url"]),
    ("extraHeaders", &["headers"]),
    ("extraLabels", &["external_labels"]),
    ("auth.username", &["basic_auth", "username"]),
    ("auth.password", &["basic_auth", "password"]),
    ("auth.bearerToken", &["bearer_token"]),
    ("auth.bearerTokenFile", &["bearer_token_file"]),
    ("tls.insecureSkipVerify", &["tls_config", "insecure_skip_verify"]),
    ("tls.caFile", &["tls_config", "ca_file"]),
    ("tls.certFile", &["tls_config", "cert_file"]),
    ("tls.keyFile", &["tls_config", "key_file"]),
    ("tls.serverName", &["tls_config", "server_name"]),
];

/// Stages of a destination, which come behind those of the feature.
pub const STAGES: &str = "logProcessingStages";

/// The destination of this number, with its name in the report.
pub fn numbered(values: &Tree, number: usize) -> Option<(String, &Tree)> {
    let all = at(values, &["destinations"])?;
    match all.items().get(number) {
        Some(item) => Some((format!("destinations[{number}]"), item)),
        None => all.pairs().get(number).map(|pair| (format!("destinations.{}", pair.key), &pair.value)),
    }
}

/// Reads destinations of the type `loki` as clients of Promtail are read. Returns the name of each, with the number of its client.
pub fn read(values: &Tree, origin: &mut Origin) -> Vec<(String, Option<usize>)> {
    let Some(all) = at(values, &["destinations"]) else { return Vec::new() };
    let name = |item: &Tree| at(item, &["name"]).and_then(Tree::as_text).unwrap_or("").to_owned();
    let items = all.items().iter().enumerate();
    let items = items.map(|(index, item)| (name(item), format!("destinations[{index}]"), item));
    let named = all.pairs().iter().map(|pair| (pair.key.clone(), format!("destinations.{}", pair.key), &pair.value));
    let mut read = Vec::new();
    for (name, what, item) in items.chain(named) {
        let kind = at(item, &["type"]).and_then(Tree::as_text).unwrap_or("");
        if kind != "loki" {
            origin.changed(
                &item.place,
                &what,
                format!("of the type {kind} takes no lines of Pilcrow: it stays with the chart"),
            );
            read.push((name, None));
            continue;
        }
        let mut client = Vec::new();
        let secret = at(item, &["secret", "name"])
            .filter(|_| at(item, &["secret", "create"]).and_then(Tree::as_text) == Some("false"));
        let (mut findings, first) = (Vec::new(), origin.clients.len());
        leaves(item, "", &mut |path, pair| {
            let is_read = ["clusterLabels", STAGES].contains(&path) || secret.is_some() && (path.ends_with("Key") || path.starts_with("secret."));
            if is_read || ["type", "name", "auth.type"].contains(&path) {
                return true;
            }
            let Some((_, keys)) = CLIENT.iter().find(|(known, _)| *known == path) else { return false };
            put(&mut client, keys, pair);
            true
        })
        .into_iter()
        .for_each(|(path, place)| {
            let from_secret = path.ends_with("From");
            let text = if from_secret && path.starts_with("extra") {
                "is known only while Alloy runs: write the value itself"
            } else if from_secret {
                "is a reference to a Secret: name it in loki.basicAuth.existingSecret or loki.bearerToken.existingSecret of Pilcrow's chart"
            } else if path == "writeAheadLog" {
                "is not needed: a line stays in its file until Loki has accepted it"
            } else if path.starts_with("secret.") {
                "Pilcrow's chart makes no Secret: it takes one that exists (loki.basicAuth.existingSecret)"
            } else {
                "has no counterpart; left out"
            };
            let kind = if from_secret { Kind::NotPossible } else { Kind::Changed };
            findings.push(Finding::new(kind, &place, format!("{what}.{path}"), text));
        });
        let list = Value::List(vec![Tree { place: item.place.clone(), value: Value::Group(client) }]);
        promtail::clients(&Tree { place: item.place.clone(), value: list }, "destination", origin);
        // Under the names that the values have.
        let renamed = |text: &str| {
            let path = text.trim_start_matches("destination[0].");
            let known = CLIENT
                .iter()
                .find(|(_, keys)| path == keys.join(".") || path.starts_with(&format!("{}.", keys.join("."))));
            let new = known.map_or(path.to_owned(), |(name, keys)| path.replacen(&keys.join("."), name, 1));
            format!("{what}.{new}")
        };
        for client in &mut origin.clients[first..] {
            client.name.clone_from(&what);
            for finding in client.findings.iter_mut().filter(|finding| finding.what.starts_with("destination[0].")) {
                finding.what = renamed(&finding.what);
            }
            for setting in client.settings.iter_mut().chain(&mut client.labels) {
                setting.from = renamed(&setting.from);
            }
            client.findings.append(&mut findings);
            client.labels.extend(of_cluster(values, item));
            if let Some(secret) = secret {
                of_secret(client, item, secret, &what);
            }
        }
        read.push((name, Some(first)));
    }
    read
}

/// The labels that the chart gives a destination.
fn of_cluster(values: &Tree, destination: &Tree) -> Vec<Setting> {
    let Some(name) = at(values, &["cluster", "name"]) else { return Vec::new() };
    let chosen = at(destination, &["clusterLabels"]).map(Tree::items);
    let is_chosen = |label: &str| {
        chosen.is_none_or(|chosen| {
            chosen.iter().any(|own| own.as_text().is_some_and(|own| own.replace('.', "_") == label))
        })
    };
    let labels = ["cluster", "k8s_cluster_name"].into_iter().filter(|label| is_chosen(label));
    labels.map(|label| Setting::new(format!("labels.{label}"), name.clone(), "cluster.name")).collect()
}

/// A Secret that exists holds the credentials: Pilcrow's chart takes it by its name, and its files in a configuration.
fn of_secret(client: &mut Client, destination: &Tree, secret: &Tree, what: &str) {
    let text = |path: &[&str]| at(destination, path).and_then(Tree::as_text);
    let kind = text(&["auth", "type"]).unwrap_or("none");
    let (group, file, keys) = match kind {
        "basic" => (
            "loki.basicAuth",
            ("loki.basic_auth.password_file", PASSWORD_FILE),
            &[("usernameKey", "username"), ("passwordKey", "password")][..],
        ),
        "bearerToken" => {
            ("loki.bearerToken", ("loki.bearer_token_file", TOKEN_FILE), &[("bearerTokenKey", "bearerToken")][..])
        }
        _ => return,
    };
    let secret_is = if kind == "basic" { "password" } else { "token" };
    let from = format!("{what}.secret.name");
    let name = secret.as_text().unwrap_or("");
    let namespace = text(&["secret", "namespace"])
        .map_or_else(String::new, |namespace| format!(" (from the namespace {namespace})"));
    let note = format!(
        "{group}.existingSecret of the chart: copy the Secret {name}{namespace} into Pilcrow's namespace; without the chart write the {secret_is} to {}",
        file.1
    );
    client.findings.push(Finding::new(Kind::Changed, &secret.place, &from, note));
    client.settings.push(Setting::new(file.0, Tree::text(&secret.place, file.1), &from));
    client.chart.push(Setting::new(format!("{group}.existingSecret"), secret.clone(), &from));
    for (key, default) in keys.iter().filter(|(key, _)| *key != "usernameKey" || text(&["auth", "username"]).is_none())
    {
        let given = at(destination, &["auth", key]);
        let place = given.map_or(&secret.place, |given| &given.place);
        let value = Tree::text(place, given.and_then(Tree::as_text).unwrap_or(default));
        let from = format!("{what}.auth.{key}");
        if *key == "usernameKey" {
            let variable = Tree::text(place, "${LOKI_USERNAME}");
            client.settings.push(Setting::new("loki.basic_auth.username", variable, &from));
            client.chart.push(Setting::new("loki.basicAuth.username", Tree::text(place, ""), &from));
        }
        let new = if kind == "basic" { key } else { &"key" };
        client.chart.push(Setting::new(format!("{group}.{new}"), value, from));
    }
}

/// Calls `take` with each value that is no group of known keys; returns those that it does not take.
fn leaves<'t>(group: &'t Tree, above: &str, take: &mut impl FnMut(&str, &'t Pair) -> bool) -> Vec<(String, Place)> {
    let mut rest = Vec::new();
    for pair in group.pairs().iter().filter(|pair| pair.value.value != Value::Nothing) {
        let path = format!("{above}{}", pair.key);
        if take(&path, pair) {
            continue;
        }
        if ["auth", "tls", "secret"].contains(&&*path) {
            rest.extend(leaves(&pair.value, &format!("{path}."), take));
        } else {
            rest.push((path, pair.place.clone()));
        }
    }
    rest
}

/// Puts a value at a path of keys.
fn put(group: &mut Vec<Pair>, keys: &[&str], pair: &Pair) {
    let Some((first, rest)) = keys.split_first() else { return };
    let new = |value| Pair { key: (*first).to_owned(), place: pair.place.clone(), value };
    if rest.is_empty() {
        return group.push(new(pair.value.clone()));
    }
    let index = group.iter().position(|known| known.key == *first).unwrap_or_else(|| {
        group.push(new(Tree { place: pair.place.clone(), value: Value::Group(Vec::new()) }));
        group.len() - 1
    });
    if let Value::Group(below) = &mut group[index].value.value {
        put(below, rest, pair);
    }
}
