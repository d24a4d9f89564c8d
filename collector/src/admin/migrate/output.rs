//! The new configuration, as a file or as values of Pilcrow's chart.
//!
//! In: a [`Draft`] that compiles. Out: YAML with a comment that names the origin of each part. Secrets are files in it, or Secrets.

use super::{
    convert::{
        Draft,
        draft::{labels, settings},
        has_placeholder,
    },
    origin::{Setting, Tree},
    write,
};

/// The Secrets that the values name, for whoever installs to make.
pub const SECRET: &str = "pilcrow-loki";
pub const TLS_SECRET: &str = "pilcrow-loki-tls";

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A configuration file.
    #[default]
    Config,
    /// Values of the chart.
    Values,
}

/// The whole text; `files`: what it was made from.
#[must_use]
pub fn text(draft: &Draft, form: Form, files: &[String]) -> String {
    let from = write::one_line(&files.join(", "));
    match form {
        Form::Config => {
            format!(
                "# Made by `pilcrow migrate` from {from}; its report says what was changed and what is not possible.\n{}{}",
                not_ready(draft),
                draft.yaml(0, &|_| false)
            )
        }
        Form::Values => {
            let head = format!(
                "# Values of Pilcrow's chart, made by `pilcrow migrate --values` from {from}.\n{}",
                not_ready(draft)
            );
            head + &values(draft)
        }
    }
}

/// What stands at the head of a result that cannot be used yet.
fn not_ready(draft: &Draft) -> &'static str {
    if has_placeholder(draft) {
        "# NOT READY: write the address of Loki to loki.url, in the place of the PLACEHOLDER.\n"
    } else {
        ""
    }
}

/// Keys that the chart has values of its own for.
const MOVED: [(&str, &str); 4] = [
    ("loki.url", "loki.url"),
    ("loki.tenant", "loki.tenant"),
    ("loki.tls.server_name", "loki.tls.serverName"),
    ("loki.tls.insecure_skip_verify", "loki.tls.insecureSkipVerify"),
];

/// Files that a Secret holds, with the values that name it and its key.
const SECRETS: [(&str, &[(&str, &str)]); 5] = [
    ("loki.basic_auth.password_file", &[("loki.basicAuth.existingSecret", SECRET)]),
    ("loki.bearer_token_file", &[("loki.bearerToken.existingSecret", SECRET)]),
    ("loki.tls.ca_file", &[("loki.tls.existingSecret", TLS_SECRET)]),
    ("loki.tls.cert_file", &[("loki.tls.existingSecret", TLS_SECRET), ("loki.tls.certKey", "tls.crt")]),
    ("loki.tls.key_file", &[("loki.tls.existingSecret", TLS_SECRET), ("loki.tls.keyKey", "tls.key")]),
];

fn values(draft: &Draft) -> String {
    let mut chart: Vec<Setting> = Vec::new();
    let mut add = |key: &str, value: Tree, from: &str| {
        if !chart.iter().any(|setting| setting.key == key) {
            chart.push(Setting::new(key, value, from));
        }
    };
    for setting in &draft.settings {
        let Setting { key, value, from } = setting;
        if key == "loki.url" && has_placeholder(draft) {
            // The chart asks for it.
            add(key, Tree::text(&value.place, ""), from);
        } else if let Some((_, new)) = MOVED.iter().find(|(old, _)| old == key) {
            add(new, value.clone(), from);
        } else if let Some((_, news)) = SECRETS.iter().find(|(old, _)| old == key) {
            for (new, text) in *news {
                add(new, Tree::text(&value.place, *text), from);
            }
        } else if key == "loki.basic_auth.username" {
            add("loki.basicAuth.username", value.clone(), from);
        } else if key == "http.listen" {
            let text = value.as_text().unwrap_or("");
            let (address, port) = text.rsplit_once(':').unwrap_or(("", text));
            if port != "9080" {
                add("port", Tree::text(&value.place, port), from);
            }
            let address = address.trim_matches(['[', ']']);
            if !matches!(address, "::" | "") {
                add("listenAddress", Tree::text(&value.place, address), from);
            }
        }
    }
    let has_ca = draft.get("loki.tls.ca_file").is_some();
    if let Some(setting) =
        chart.iter().find(|setting| setting.key == "loki.tls.existingSecret").cloned().filter(|_| !has_ca)
    {
        // Else the chart looks for one in that Secret.
        chart.push(Setting::new("loki.tls.caKey", Tree::text(&setting.value.place, ""), "no ca_file"));
    }
    // A Secret that exists is known by its own name.
    chart.retain(|setting| draft.chart.iter().all(|own| own.key != setting.key));
    chart.extend(draft.chart.iter().cloned());
    let mut out = String::new();
    settings(&mut out, 0, &chart.iter().collect::<Vec<_>>(), 0);
    if !draft.labels.is_empty() {
        labels(&mut out, 0, &draft.labels);
    }
    if !draft.labels.iter().any(|label| label.key == "labels.cluster") {
        if draft.labels.is_empty() {
            out.push_str("labels:\n");
        }
        out.push_str(
            "  cluster: ''  # not the chart's own, home-k8s: with another label all streams would begin anew\n",
        );
    }
    let is_value = |key: &str| {
        key == "labels"
            || key == "loki.basic_auth.username"
            || key == "http.listen"
            || MOVED.iter().any(|(old, _)| *old == key)
            || SECRETS.iter().any(|(old, _)| *old == key)
    };
    let config = draft.yaml(2, &is_value);
    if !config.is_empty() {
        out.push_str("config:\n");
        out.push_str(&config);
    }
    import(draft, &mut out);
    out
}

/// How the chart takes positions over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    /// `migrate.from`, and `migrate.path` where it is not the usual one.
    From(&'static str, Option<String>),
    /// `importPositions.file`.
    File(String),
}

/// The folders that the chart looks into by itself.
const USUAL: [(&str, &str); 2] = [("promtail", "/run/promtail"), ("alloy", ALLOY_POSITIONS)];

/// The folder of the nodes in which the chart k8s-monitoring keeps Alloy's positions.
pub const ALLOY_POSITIONS: &str = "/var/alloy-log-storage";

impl Import {
    /// Of a draft whose old collector's positions have a place on the node.
    #[must_use]
    pub fn of(draft: &Draft) -> Option<Self> {
        let positions = draft.positions.as_ref()?;
        let file = positions.value.as_text()?;
        let folder = draft.positions_folder.as_ref().and_then(Tree::as_text);
        if !is_absolute(positions) {
            // Alloy's, below its storage path.
            let (from, usual) = USUAL[1];
            return folder.map(|folder| Self::From(from, Some(folder.to_owned()).filter(|folder| folder != usual)));
        }
        if let Some((from, _)) = USUAL.iter().find(|(_, usual)| *usual == file) {
            return Some(Self::From(from, None));
        }
        let usual = USUAL[0].1;
        match folder {
            Some(folder) => Some(Self::From("promtail", Some(folder.to_owned()).filter(|folder| folder != usual))),
            // Other folders may hold all kinds of things.
            None if file.strip_prefix(usual).is_some_and(|file| file.starts_with('/')) => {
                Some(Self::From("promtail", None))
            }
            None => Some(Self::File(file.to_owned())),
        }
    }

    /// The folder or file on the nodes.
    #[must_use]
    pub fn place(&self) -> &str {
        match self {
            Self::From(_, Some(folder)) => folder,
            Self::From(from, None) => USUAL.iter().find(|(name, _)| name == from).map_or("", |(_, folder)| folder),
            Self::File(file) => file,
        }
    }
}

/// The value with which each pod takes the node's positions over. Alloy's lie below its storage path, which its chart does not keep on
/// the node.
fn import(draft: &Draft, out: &mut String) {
    let (Some(import), Some(positions)) = (Import::of(draft), &draft.positions) else { return };
    let place = draft.positions_folder.as_ref().map_or(&positions.value.place, |folder| &folder.place);
    let comment = write::one_line(&format!("{}:{} {}", place.file, place.line, positions.from));
    match import {
        Import::From(from, folder) => {
            out.push_str(&format!("migrate:\n  from: {from}  # {comment}\n"));
            if let Some(folder) = folder {
                out.push_str(&format!("  path: {}\n", write::scalar(&folder)));
            }
        }
        Import::File(file) => {
            out.push_str(&format!("importPositions:\n  file: {}  # {comment}\n", write::scalar(&file)))
        }
    }
}

/// Whether it is known where the old collector's positions are on the node.
pub fn is_absolute(positions: &Setting) -> bool {
    positions.value.as_text().is_some_and(|file| file.starts_with('/'))
}
