//! A configuration of Pilcrow in the making: its parts, each with where it comes from.

use crate::{
    admin::migrate::{
        origin::{Finding, Pair, Place, Setting, Tree, Value},
        write,
    },
    config::Preset,
};

/// Which rules come before those of the old setup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base {
    /// None: the old setup has all of them.
    #[default]
    None,
    Preset(Preset),
}

/// A rule or a stage.
#[derive(Clone, Debug)]
pub struct Item {
    /// `None`: it is not possible, and only its comment stands there.
    pub tree: Option<Tree>,
    /// Its name in the report.
    pub what: String,
    /// Where it stood, and what was done with it.
    pub comment: String,
}

/// The parts of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub base: Base,
    /// Which of the old pipelines it stands for.
    pub jobs: Vec<usize>,
    /// Keys of Pilcrow, each once.
    pub settings: Vec<Setting>,
    /// As `labels.NAME`.
    pub labels: Vec<Setting>,
    pub relabel: Vec<Item>,
    pub stages: Vec<Item>,
    /// Values of Pilcrow's chart.
    pub chart: Vec<Setting>,
    pub positions: Option<Setting>,
    /// The nodes' folder that it is mounted from.
    pub positions_folder: Option<Tree>,
    pub findings: Vec<Finding>,
}

/// The order of groups in a file.
const ORDER: [&str; 13] = [
    "loki",
    "labels",
    "preset",
    "relabel_defaults",
    "relabel_configs",
    "pipeline_stages",
    "kubernetes",
    "paths",
    "start_at",
    "lines",
    "checkpoint",
    "http",
    "log",
];

impl Draft {
    /// Sets a key; lists that are set twice are joined, of other values the later one counts.
    pub fn set(&mut self, setting: Setting) {
        let Some(known) = self.settings.iter_mut().find(|known| known.key == setting.key) else {
            return self.settings.push(setting);
        };
        match (&mut known.value.value, setting.value.value) {
            (Value::List(items), Value::List(more)) => items.extend(more),
            (value, new) => *value = new,
        }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// The configuration as YAML; `skip`: keys that stand elsewhere.
    #[must_use]
    pub fn yaml(&self, indent: usize, skip: &dyn Fn(&str) -> bool) -> String {
        let mut out = String::new();
        for group in ORDER {
            match group {
                "labels" if !self.labels.is_empty() && !skip("labels") => labels(&mut out, indent, &self.labels),
                "preset" => {
                    if let Base::Preset(preset) = self.base {
                        out.push_str(&format!("{:indent$}preset: {}\n", "", preset.name()));
                    }
                }
                "relabel_defaults" if self.base == Base::None => {
                    out.push_str(&format!("{:indent$}relabel_defaults: false\n", ""));
                }
                "relabel_configs" => items(&mut out, indent, group, &self.relabel),
                "pipeline_stages" => items(&mut out, indent, group, &self.stages),
                _ => {
                    let prefix = format!("{group}.");
                    let own: Vec<&Setting> = self
                        .settings
                        .iter()
                        .filter(|setting| {
                            (setting.key == group || setting.key.starts_with(&prefix)) && !skip(&setting.key)
                        })
                        .collect();
                    settings(&mut out, indent, &own, 0);
                }
            }
        }
        out
    }
}

/// Labels, whose values are texts also where they look like numbers.
pub fn labels(out: &mut String, indent: usize, labels: &[Setting]) {
    out.push_str(&format!("{:indent$}labels:\n", ""));
    for label in labels {
        let name = label.key.trim_start_matches("labels.");
        let value = write::word(label.value.as_text().unwrap_or(""));
        let comment = comment(&label.value.place, &label.from);
        out.push_str(&format!("{:indent$}  {}: {value}  # {comment}\n", "", write::scalar(name)));
    }
}

/// Values of the chart in which Kubernetes takes texts only.
const GROUPS_OF_TEXTS: [&str; 5] = ["podAnnotations", "podLabels", "nodeSelector", "tolerations", "extraEnv"];

/// Keys whose values are texts, whatever they look like.
const TEXTS: [&str; 4] = ["username", "tenant", "server_name", "serverName"];

/// Settings that have the first `level` parts of their keys in common.
pub fn settings(out: &mut String, indent: usize, own: &[&Setting], level: usize) {
    let mut done: Vec<&str> = Vec::new();
    for setting in own {
        let Some(part) = setting.key.split('.').nth(level) else { continue };
        if done.contains(&part) {
            continue;
        }
        done.push(part);
        if setting.key.split('.').count() > level + 1 {
            let below: Vec<&Setting> =
                own.iter().filter(|other| other.key.split('.').nth(level) == Some(part)).copied().collect();
            out.push_str(&format!("{:indent$}{part}:\n", ""));
            settings(out, indent + 2, &below, level + 1);
            continue;
        }
        let mut text = String::new();
        match setting.value.as_text() {
            // The chart's schema takes a number for no text.
            Some(value) if TEXTS.contains(&part) => text = format!("{:indent$}{part}: {}", "", write::word(value)),
            _ if GROUPS_OF_TEXTS.contains(&part) => write::pair_of_texts(&mut text, indent, part, &setting.value),
            _ => write::pair(&mut text, indent, part, &setting.value),
        }
        let comment = comment(&setting.value.place, &setting.from);
        if text.contains('\n') {
            out.push_str(&format!("{:indent$}# {comment}\n{text}\n", ""));
        } else {
            out.push_str(&format!("{text}  # {comment}\n"));
        }
    }
}

fn items(out: &mut String, indent: usize, key: &str, items: &[Item]) {
    if items.is_empty() {
        return;
    }
    let is_empty = items.iter().all(|item| item.tree.is_none());
    out.push_str(&format!("{:indent$}{key}:{}\n", "", if is_empty { " []" } else { "" }));
    for item in items {
        out.push_str(&format!("{:indent$}  # {}\n", "", write::one_line(&item.comment)));
        if let Some(tree) = &item.tree {
            write::item(out, indent + 2, tree);
            out.push('\n');
        }
    }
}

fn comment(place: &Place, from: &str) -> String {
    write::one_line(&format!("{}:{} {from}", place.file, place.line))
}

/// A group with these texts, all in one place.
#[must_use]
pub fn group(place: &Place, pairs: &[(&str, Value)]) -> Tree {
    let pair = |(key, value): &(&str, Value)| Pair {
        key: (*key).to_owned(),
        place: place.clone(),
        value: Tree { place: place.clone(), value: value.clone() },
    };
    Tree { place: place.clone(), value: Value::Group(pairs.iter().map(pair).collect()) }
}
