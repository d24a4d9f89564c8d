//! From a file's text and the environment to a [`Draft`].

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    Config, ConfigError, Origin, Problem,
    decode::decode,
    nearest,
    rule_test::{self, RuleTest},
    tree::{self, Node},
};

/// How a variable is looked up: `None` where it is not set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Variables that fill in a key which the file leaves out, so that no file is needed at all.
const VARIABLES: [(&str, &[&str]); 2] = [("LOKI_URL", &["loki", "url"]), ("NODE_NAME", &["kubernetes", "node_name"])];

/// Keys of earlier versions: a file that has them still works.
const RETIRED: [(&[&str], &str); 1] =
    [(&["reader", "shards"], "has no effect any more: one thread reads all files; delete the key")];

/// A configuration as it was read, not yet compiled: `crate::compiled` decides whether it can be used.
pub struct Draft {
    /// Where a value could not be decoded it has its default.
    pub config: Config,
    pub findings: Findings,
}

/// What is known of a file besides its values.
pub struct Findings {
    root: Node,
    filled_in: Vec<(&'static str, String)>,
    /// What could not be decoded.
    problems: Vec<Problem>,
    /// What has no effect, in the file's order.
    pub warnings: Vec<Problem>,
}

/// Reads the file; no path is an empty file.
///
/// # Errors
/// [`ConfigError::Unreadable`].
pub fn read(path: Option<&Path>) -> Result<String, ConfigError> {
    let Some(path) = path else { return Ok(String::new()) };
    fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })
}

impl Draft {
    /// Reads the text of a file. `LOKI_URL` and `NODE_NAME` fill in `loki.url` and `kubernetes.node_name` where the file
    /// does not set them.
    ///
    /// # Errors
    /// The text is no YAML, or names variables that are not set.
    pub fn parse(text: &str, environment: Environment<'_>) -> Result<Self, Vec<Problem>> {
        // `kubectl create secret --from-file` and `echo … > file` leave a newline at the end of what becomes a variable.
        let trimmed = |name: &str| environment(name).map(|value| value.trim_end_matches(['\r', '\n']).to_owned());
        let environment: Environment<'_> = &trimmed;
        // Some editors begin a file with a byte order mark.
        let mut root = tree::parse(text.strip_prefix('\u{feff}').unwrap_or(text), environment)?;
        root.expand("reader", "backend");
        let mut warnings: Vec<_> = RETIRED.iter().filter_map(|(path, why)| retire(&mut root, path, why)).collect();
        warnings.sort();
        rule_test::expand(&mut root);
        let (mut config, problems): (Config, _) = decode(&root, &unknown_key);
        rule_test::place(&mut config.tests, &root);
        let filled_in = config.fill_in(&root, environment);
        // A label without a value is no label, to Loki as to Prometheus: `cluster: ${CLUSTER:-}` may leave it out.
        config.labels.retain(|_, value| !value.is_empty());
        Ok(Self { config, findings: Findings { root, filled_in, problems, warnings } })
    }
}

/// A file that holds nothing but `tests`, as it was read.
pub struct TestsDraft {
    pub tests: Vec<RuleTest>,
    pub findings: Findings,
}

impl TestsDraft {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The text is no YAML, or names variables that are not set.
    pub fn parse(text: &str, environment: Environment<'_>) -> Result<Self, Vec<Problem>> {
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Only {
            tests: Vec<RuleTest>,
        }
        let mut root = tree::parse(text.strip_prefix('\u{feff}').unwrap_or(text), environment)?;
        rule_test::expand(&mut root);
        let (Only { mut tests }, problems) = decode(&root, &|key, known| {
            if known == ["tests"] && Config::keys().iter().any(|other| other == key) {
                return "only tests may stand in a file of tests; the rules are in the file of --config".into();
            }
            unknown_key(key, known)
        });
        rule_test::place(&mut tests, &root);
        let findings = Findings { root, filled_in: Vec::new(), problems, warnings: Vec::new() };
        Ok(Self { tests, findings })
    }
}

impl Findings {
    /// The place of each of these in the file, in its order.
    #[must_use]
    pub fn placed(&self, unplaced: Vec<Problem>) -> Vec<Problem> {
        let place = |problem: Problem| Problem { origin: origin(&problem.key, &self.root, &self.filled_in), ..problem };
        let mut placed: Vec<Problem> = unplaced.into_iter().map(place).collect();
        placed.sort();
        placed
    }

    /// All problems in the file's order: those of decoding and those that compiling found, each with its place.
    pub fn problems(self, compiling: Vec<Problem>) -> Vec<Problem> {
        let Self { root, filled_in, mut problems, .. } = self;
        let undecoded: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
        for problem in compiling {
            let key = numbered_as_written(&problem.key, &undecoded);
            // Of an item of which something is missing, more problems may be due to that.
            if item(&key).is_some_and(|own| undecoded.iter().any(|other| item(other) == Some(own))) {
                continue;
            }
            problems.push(Problem { origin: origin(&key, &root, &filled_in), key, ..problem });
        }
        problems.sort();
        // Where a value could not be decoded, its default was compiled instead.
        problems.dedup_by(|later, first| later.origin == first.origin && later.key == first.key);
        problems
    }
}

/// The item of a list that a key lies in.
fn item(key: &str) -> Option<&str> {
    let begin = key.find(".[")?;
    Some(&key[..=begin + key[begin..].find(']')?])
}

/// A key with the numbers that items of lists have in the file: those that could not be decoded were left out of what was compiled.
fn numbered_as_written(key: &str, undecoded: &[String]) -> String {
    let mut written = String::new();
    for part in key.split('.') {
        let separator = if written.is_empty() { "" } else { "." };
        let Some(mut index) = part.strip_prefix('[').and_then(|part| part.strip_suffix(']')?.parse::<usize>().ok())
        else {
            written += separator;
            written += part;
            continue;
        };
        let prefix = format!("{written}.[");
        let number = |key: &String| key.strip_prefix(&prefix)?.strip_suffix(']')?.parse::<usize>().ok();
        let mut left_out: Vec<usize> = undecoded.iter().filter_map(number).collect();
        left_out.sort_unstable();
        index += left_out.into_iter().fold(0, |before, other| before + usize::from(other <= index + before));
        written += &format!("{separator}[{index}]");
    }
    written
}

/// Takes a key of an earlier version out of the tree.
fn retire(root: &mut Node, path: &[&str], why: &str) -> Option<Problem> {
    let place = root.remove(path)?;
    Some(Problem { origin: Origin::File(place), key: path.join("."), message: why.to_owned() })
}

impl Config {
    /// The process's own environment, as an [`Environment`].
    pub fn process_environment(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    /// Returns the variables that were used, with their keys.
    fn fill_in(&mut self, root: &Node, environment: Environment<'_>) -> Vec<(&'static str, String)> {
        let mut used = Vec::new();
        for (name, key) in VARIABLES {
            let Some(value) = environment(name).filter(|value| !value.is_empty()) else { continue };
            if root.get(key).is_some() {
                continue;
            }
            match name {
                "LOKI_URL" => self.loki.url = value,
                _ => self.kubernetes.node_name = value,
            }
            used.push((name, key.join(".")));
        }
        used
    }
}

/// Where the value of a key was set; for one that is missing, the group of keys that lacks it.
fn origin(key: &str, root: &Node, filled_in: &[(&'static str, String)]) -> Origin {
    if let Some((name, _)) = filled_in.iter().find(|(_, filled_key)| filled_key == key) {
        return Origin::Environment(name);
    }
    // The keys of labels and headers may have dots in them.
    let with_dots = [("labels.", 2), ("loki.headers.", 3)];
    let parts = with_dots.iter().find(|(group, _)| key.starts_with(group)).map_or(usize::MAX, |(_, parts)| *parts);
    let path: Vec<&str> = key.splitn(parts, '.').collect();
    (1..=path.len()).rev().find_map(|n| root.place_of(&path[..n])).map_or(Origin::Default, Origin::File)
}

/// Keys of what others read.
const FOREIGN: [&str; 3] = ["scrape_configs", "clients", "positions"];

/// Says what may be meant by a key that is not among the `known` ones of its place.
fn unknown_key(key: &str, known: &'static [&'static str]) -> String {
    if FOREIGN.contains(&key) {
        return "a key of Promtail or Grafana Agent; `pilcrow migrate FILE` converts their configurations".into();
    }
    if let Some(nearest) = nearest(key, known.iter().copied()) {
        return format!("unknown key; did you mean {nearest}?");
    }
    let normal = key.to_ascii_lowercase().replace('-', "_");
    let elsewhere: Vec<String> =
        Config::keys().into_iter().filter(|path| path.ends_with(&format!(".{normal}"))).collect();
    match &elsewhere[..] {
        [] => format!("unknown key; known here: {}", known.join(", ")),
        paths => format!("unknown key here; did you mean {}?", paths.join(" or ")),
    }
}

/// YAML that means the same when it is read as a part of a configuration.
///
/// # Errors
/// Those of the YAML writer; none is known.
pub fn to_yaml(value: &impl Serialize) -> Result<String, serde_saphyr::ser::Error> {
    // Dollars have no meaning in YAML itself, so those that would be read as variables can be doubled in the text.
    let plain = serde_saphyr::to_string(value)?;
    Ok(plain.split_inclusive('\n').map(tree::unexpanded).collect())
}

impl Config {
    /// The whole configuration as a YAML file of the same meaning, defaults included; of headers whose name says that they
    /// are secret the values are hidden.
    ///
    /// # Errors
    /// Those of the YAML writer; none is known.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        to_yaml(self)
    }

    /// All keys with all keys above them, groups included: `loki`, `loki.url`, ….
    #[must_use]
    pub fn keys() -> Vec<String> {
        fn walk(prefix: &str, value: &serde_json::Value, keys: &mut Vec<String>) {
            for (key, value) in value.as_object().into_iter().flatten() {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                keys.push(path.clone());
                walk(&path, value, keys);
            }
        }
        let mut keys = Vec::new();
        walk("", &serde_json::to_value(Self::default()).unwrap_or_default(), &mut keys);
        keys
    }
}
