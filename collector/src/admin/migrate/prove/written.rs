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
    /// Labels that are the same for all its files.
    pub fixed: Vec<(String, Tree)>,
    pub rules: Vec<Tree>,
    pub stages: Vec<Tree>,
    /// What its client adds.
    pub external: Vec<(String, Tree)>,
    /// `__path__` of the files that it names.
    pub path: Option<String>,
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
    let files = at(job, &["static_configs"]).map(Tree::items).unwrap_or_default().first();
    let of_files = files.map(|files| pairs(files, "labels")).unwrap_or_default();
    let path = of_files.iter().find(|(name, _)| name == "__path__").and_then(|(_, path)| path.as_text());
    let client = [Some(root), shared].into_iter().flatten().find_map(|root| {
        let first = at(root, &["clients"]).and_then(|clients| clients.items().first());
        first.or(at(root, &["client"]))
    });
    Some(Written {
        path: path.map(str::to_owned),
        rules: list("relabel_configs"),
        stages: list("pipeline_stages"),
        external: client
            .map(|client| pairs(&client.map_texts(&promtail::braced), "external_labels"))
            .unwrap_or_default(),
        fixed: of_files.into_iter().filter(|(name, _)| !name.starts_with("__")).collect(),
    })
}

fn pairs(tree: &Tree, key: &str) -> Vec<(String, Tree)> {
    let pairs = at(tree, &[key]).map(Tree::pairs).unwrap_or_default();
    pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
}
