//! Where the chart sends lines.
//!
//! In: the values, their texts in Pilcrow's spelling. Out: a client for each destination of the type `loki`, with the labels that the
//! chart adds behind all stages.

use crate::admin::migrate::{
    origin::{Finding, Kind, Origin, Pair, Place, Setting, Tree, Value},
    promtail,
    recognise::at,
};

/// How a destination's keys are called in Promtail.
const CLIENT: [(&str, &[&str]); 14] = [
    ("url", &["url"]),
    ("tenantId", &["tenant_id"]),
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
        let (mut findings, first) = (Vec::new(), origin.clients.len());
        leaves(item, "", &mut |path, pair| {
            if ["type", "name", "auth.type"].contains(&path) {
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
            client.labels.extend(of_cluster(values));
        }
        read.push((name, Some(first)));
    }
    read
}

/// The labels that the chart gives each destination.
fn of_cluster(values: &Tree) -> Vec<Setting> {
    let Some(name) = at(values, &["cluster", "name"]) else { return Vec::new() };
    let label = |key: &str| Setting::new(format!("labels.{key}"), name.clone(), "cluster.name");
    vec![label("cluster"), label("k8s_cluster_name")]
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
