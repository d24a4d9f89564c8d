//! deploy/pilcrow.schema.json, and the part of the chart's values.schema.json about `config`, are what the configuration's own types
//! decode. `UPDATE_SCHEMA=1 cargo test -p collector --test config_schema` writes both anew: read the difference, and run
//! `cargo xtask manifests`, as the chart is packed into one of them.

mod probe;
mod schema;

use std::{fs, path::PathBuf};

use collector::config::Config;
use serde_json::json;

fn deploy(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

/// What `path` holds must be `text`, or becomes it.
fn is_current(path: PathBuf, text: &str) {
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{}: UPDATE_SCHEMA=1 writes it anew", path.display());
}

#[test]
fn the_published_schema_is_what_the_types_decode() {
    let schema = schema::of_config();
    is_current(deploy("pilcrow.schema.json"), &format!("{schema:#}\n"));
}

#[test]
fn the_chart_s_schema_has_that_of_the_configuration_in_it() {
    const MARK: &str = "  \"definitions\": {\n    \"config\": ";
    let path = deploy("helm/pilcrow/values.schema.json");
    let old = fs::read_to_string(&path).unwrap();
    let (by_hand, _) = old.split_once(MARK).expect("values.schema.json has no definitions");
    let mut config = schema::of_config();
    let group = config.as_object_mut().unwrap();
    group.retain(|key, _| !["$schema", "title", "description"].contains(&key.as_str()));
    // The chart's own values say it, as its Service and probes have to know.
    group["properties"]["http"] = json!(false);
    // A DaemonSet collects from pods.
    group["properties"]["paths"]["properties"]["docker"] = json!(false);
    for folder in ["pods", "state"] {
        group["properties"]["paths"]["properties"][folder] = json!({"type": "string", "pattern": "^/[^:]+$"});
    }
    let config = format!("{config:#}").replace('\n', "\n    ");
    is_current(path, &format!("{by_hand}{MARK}{config}\n  }}\n}}\n"));
}

#[test]
fn a_key_of_each_kind_is_what_it_is_in_the_configuration() {
    let schema = schema::of_config();
    let of = |path: &[&str]| path.iter().fold(&schema, |at, key| &at["properties"][key]).clone();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(of(&["levels"])["default"], false);
    assert_eq!(of(&["signal"])["anyOf"][0]["enum"], json!(["auto", "ebpf", "inotify", "poll", null]));
    assert_eq!(of(&["kubernetes", "enabled"])["anyOf"][0]["enum"], json!(["auto", "true", "false", true, false, null]));
    assert_eq!(of(&["loki", "timeout"])["default"], "10s");
    assert!(of(&["loki", "timeout"])["description"].as_str().unwrap().starts_with("How long one push may take"));
    let rule = of(&["relabel_configs"])["items"].clone();
    assert_eq!(rule["additionalProperties"], false);
    assert!(rule["properties"]["action"]["anyOf"][0]["enum"].as_array().unwrap().contains(&json!("labelmap")));
}

/// What a schema says of texts is what decodes; other kinds of values are plain.
#[test]
fn texts_that_the_schema_refuses_do_not_decode_and_others_do() {
    let cases: [(&str, &[&str], &[&str]); 4] = [
        ("loki.timeout", &["10s", "1m30s", "500ms", "0"], &["ten", "10", "10 s", "s", ""]),
        ("loki.batch.bytes", &["65536", "1MiB", "2.5MiB", "10 MB", "1mib"], &["big", "1.25MiB", "1TiB", "MiB", "-1"]),
        ("loki.stream_rate", &["unlimited", "2.5MiB", "1MB/s"], &["fast", "1TiB", ""]),
        ("loki.refused_streams", &["wait", "drop after 1h"], &["drop", "drop after", "stay"]),
    ];
    let schema = schema::of_config();
    for (key, good, bad) in cases {
        let at = key.split('.').fold(&schema, |at, part| &at["properties"][part]);
        let pattern = regex::Regex::new(at["pattern"].as_str().unwrap_or_else(|| panic!("{key}: {at}"))).unwrap();
        let path = probe::path(key);
        for text in good.iter().chain(bad) {
            let decodes = probe::decode::<Config>(&path, text).is_ok();
            assert_eq!(decodes, good.contains(text), "{key}: {text}");
            assert_eq!(pattern.is_match(text), decodes, "{key}: {text}: {pattern}");
        }
        assert!(pattern.is_match("${VARIABLE}"), "{key}");
    }
}

#[test]
fn every_key_of_the_configuration_page_is_in_the_schema() {
    let schema = schema::of_config();
    let rows = schema::meanings();
    assert!(rows.len() > 40, "{}", rows.len());
    for key in rows.keys() {
        // A short form stands beside the group.
        let at = key.split('.').fold(&schema, |at, part| {
            let at = if at["anyOf"][0]["properties"].is_object() { &at["anyOf"][0] } else { at };
            &at["properties"][part]
        });
        assert!(at["description"].is_string(), "{key}: {at}");
    }
}
