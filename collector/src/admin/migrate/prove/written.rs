//! The rules and stages of a job as they stand in a file of Promtail or of the Grafana Agent.
//!
//! In: the files, and which job is meant. Out: what is written there, read as YAML and nothing else: so that a fault of the reader or
//! of the conversion is a difference. Knows nothing of what becomes of them.

use crate::admin::migrate::{
    Source,
    origin::{Place, Text, Tree},
    promtail,
    recognise::{self, Piece, at},
};

/// A job.
pub struct Written {
    /// The files that it names, in their order.
    pub files: Vec<Files>,
    pub rules: Vec<Tree>,
    pub stages: Vec<Tree>,
    /// What its client adds.
    pub external: Vec<(String, Tree)>,
}

/// Files that a job names.
pub struct Files {
    /// `__path__`.
    pub path: String,
    /// `__path_exclude__`; nothing where none is.
    pub exclude: String,
    /// Labels that they have.
    pub labels: Vec<(String, Tree)>,
}

/// The job that begins at this place, and where its texts are those of a file: in values of charts, templates are between.
pub fn find(sources: &[Source], job: &Place) -> Option<Written> {
    let read = |source: &Source| {
        recognise::pieces(&Text { place: Place::start_of(&source.name), text: &source.text }).unwrap_or_default()
    };
    sources.iter().flat_map(read).find_map(|piece| match piece {
        Piece::Promtail(root) => in_file(&promtail::in_our_spelling(&root), None, job),
        Piece::Agent(root) => {
            let root = promtail::in_our_spelling(&root);
            ["logs", "loki"].iter().find_map(|key| {
                let shared = at(&root, &[key, "global"]);
                let configs = at(&root, &[key, "configs"]).map(Tree::items).unwrap_or_default();
                configs.iter().find_map(|config| in_file(config, shared, job))
            })
        }
        _ => None,
    })
}

/// `shared`: where the clients stand if they do not stand beside the jobs.
fn in_file(root: &Tree, shared: Option<&Tree>, job: &Place) -> Option<Written> {
    let job = at(root, &["scrape_configs"])?.items().iter().find(|item| item.place == *job)?;
    let list = |key: &str| at(job, &[key]).map(Tree::items).unwrap_or_default().to_vec();
    let files = at(job, &["static_configs"]).map(Tree::items).unwrap_or_default().iter().map(|files| {
        let (own, labels): (Vec<_>, Vec<_>) =
            pairs(files, "labels").into_iter().partition(|(name, _)| name.starts_with("__"));
        let text = |key: &str| own.iter().find(|(name, _)| name == key).and_then(|(_, value)| value.as_text());
        let text = |key: &str| text(key).unwrap_or("").to_owned();
        Files { path: text("__path__"), exclude: text("__path_exclude__"), labels }
    });
    let client = [Some(root), shared].into_iter().flatten().find_map(|root| {
        let first = at(root, &["clients"]).and_then(|clients| clients.items().first());
        first.or(at(root, &["client"]))
    });
    Some(Written {
        files: files.collect(),
        rules: list("relabel_configs"),
        stages: list("pipeline_stages"),
        external: client
            .map(|client| pairs(&client.map_texts(&promtail::braced), "external_labels"))
            .unwrap_or_default(),
    })
}

fn pairs(tree: &Tree, key: &str) -> Vec<(String, Tree)> {
    let pairs = at(tree, &[key]).map(Tree::pairs).unwrap_or_default();
    pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
}
