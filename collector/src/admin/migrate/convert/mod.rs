//! From what an old setup means to a configuration of Pilcrow.
//!
//! In: an [`Origin`]. Out: a [`Draft`] that compiles, with a finding for each part of the old setup. What Pilcrow does by itself is
//! left out and said so; what it cannot do is left out and said so; nothing disappears in silence. Knows no old language.

mod attached;
mod by_hand;
pub mod draft;
mod external;
mod jobs;
mod needs;
mod relabel;
mod settle;
mod stages;
mod touch;
mod unfilled;

use external::External;

pub use attached::was_empty;
pub use draft::{Base, Draft, Item};
pub use relabel::maps_others;
pub use settle::{compiled, environment, settle};
pub use touch::names_read;

use super::{
    docker,
    origin::{Finding, Kind, Origin, Pipeline, Place, Setting, Source, Tree, Value},
    words::quoted,
};
use crate::{config::Preset, pipeline::relabel::why_unknown};

/// What a conversion is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The one job that is meant, by its name, where there are several.
    pub job: Option<String>,
}

/// No more jobs become one configuration: a node's lines would go through the rules of all.
const JOBS_MAX: usize = 16;

/// Converts; the result compiles.
///
/// # Errors
/// Nothing in it collects pod logs, or no job has that name.
pub fn convert(origin: &Origin, options: &Options) -> Result<Draft, String> {
    let meant = meant(origin, options)?;
    let mut draft = match &meant[..] {
        [one] => converted(origin, *one)?,
        several => {
            let job = |number: &usize| -> Result<jobs::Job, String> {
                let pipeline = &origin.pipelines[*number];
                let (name, place) = (pipeline.name.clone(), pipeline.place.clone());
                Ok(jobs::Job { name, place, draft: converted(origin, *number)? })
            };
            let merged = jobs::merged(several.iter().map(job).collect::<Result<_, _>>()?);
            match merged.and_then(|mut draft| settle(&mut draft).map(|()| draft)) {
                Ok(draft) => draft,
                Err(why) => {
                    let mut draft = converted(origin, several[0])?;
                    draft
                        .findings
                        .extend(several[1..].iter().map(|number| left_out(origin, several[0], *number, &why)));
                    draft
                }
            }
        }
    };
    let first = meant[0];
    let is_meant = |number: &usize| meant.contains(number);
    for number in (0..origin.pipelines.len()).filter(|number| !is_meant(number)) {
        let is_many = origin.pipelines.len() > JOBS_MAX;
        let why = if is_many { "there are too many jobs for one configuration" } else { "it sends to another client" };
        let mut finding = left_out(origin, first, number, why);
        if options.job.is_some() {
            finding = left_out(origin, first, number, "--job asks for that one alone");
            finding.kind = Kind::Changed;
        }
        draft.findings.push(finding);
    }
    needs::tell(&mut draft);
    draft.findings.sort_by(|a, b| (a.kind, &a.place).cmp(&(b.kind, &b.place)));
    draft.findings.dedup();
    Ok(draft)
}

/// Converts one pipeline.
fn converted(origin: &Origin, number: usize) -> Result<Draft, String> {
    let pipeline = &origin.pipelines[number];
    let mut draft = Draft { findings: origin.findings.clone(), jobs: vec![number], ..Draft::default() };
    draft.base = match pipeline.source {
        Source::Api | Source::ApiLines | Source::DockerLines | Source::Path => Base::None,
        Source::Preset(preset) => Base::Preset(preset),
    };
    draft.findings.extend(pipeline.findings.iter().cloned());
    let labels = client(origin, pipeline, &mut draft);
    let labels = unfilled::take_out_of(labels, &mut draft.findings);
    let external = External::new(pipeline, draft.base, labels);
    origin.settings.iter().chain(&pipeline.settings).for_each(|setting| draft.set(setting.clone()));
    draft.chart.extend(origin.chart.iter().cloned());
    if docker::has_no_positions(pipeline) {
        let text = "positions in Docker's API are times, which cannot be taken over: from the beginning (start_at, the default) Pilcrow sends what \
                    the files still have";
        draft
            .findings
            .iter_mut()
            .filter(|finding| finding.what == "positions.filename")
            .for_each(|finding| finding.text = text.into());
    } else {
        draft.positions = pipeline.positions.clone().or_else(|| origin.positions.clone());
    }
    draft.positions_folder.clone_from(&origin.positions_folder);
    let without = pipeline.source.is_of_lines() || pipeline.source == Source::Preset(Preset::K8sMonitoring);
    let had_filename = !without && !stages::drop_file_name(&pipeline.stages);
    let stream = stages::convert(pipeline, &external.kept, &mut draft);
    relabel::convert(pipeline, stream, &mut draft);
    if had_filename {
        let what = format!("{}: label filename", pipeline.name);
        let finding = Finding::new(Kind::Changed, &pipeline.place, what, without_file_name(&draft));
        draft.findings.push(finding);
    }
    external.put(&mut draft);
    unfilled::take_out(&mut draft);
    settle(&mut draft)?;
    Ok(draft)
}

/// What is told of the label `filename`, by what else tells containers apart.
fn without_file_name(draft: &Draft) -> String {
    let text = "Pilcrow makes no such label: each restart of a container would make a new stream;";
    let missing = relabel::missing_names(draft);
    if missing.is_empty() {
        return format!("{text} the file is named by namespace, pod and container");
    }
    let names: Vec<&str> = missing.iter().map(|(_, name)| *name).collect();
    let names = names.join(", ");
    let names = names.rsplit_once(", ").map_or(names.clone(), |(first, last)| format!("{first} and {last}"));
    let rules = missing.iter().map(|(source, name)| format!("{{source_labels: [{source}], target_label: {name}}}"));
    format!(
        "{text} no other label says the {names}, so that one stream gets the lines of several: add {}",
        rules.collect::<Vec<_>>().join(", ")
    )
}

/// The pipelines that are meant, by their numbers: the one that is named, else the first one and those that send to the same Loki.
///
/// # Errors
/// Nothing collects pod logs, or no job has that name.
fn meant(origin: &Origin, options: &Options) -> Result<Vec<usize>, String> {
    let names = || origin.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = &options.job {
        let named = origin.pipelines.iter().position(|pipeline| pipeline.name == *name);
        return named
            .map(|number| vec![number])
            .ok_or_else(|| format!("no job {name} collects pod logs; those that do: {}", names()));
    }
    let Some(first) = origin.pipelines.first() else {
        let mut why = "nothing in it collects pod logs, and nothing else is converted".to_owned();
        for finding in origin.findings.iter().filter(|finding| finding.kind == Kind::NotPossible) {
            why += &format!("\n{}: {}: {}", finding.place, finding.what, finding.text);
        }
        return Err(why);
    };
    if origin.pipelines.len() > JOBS_MAX {
        return Ok(vec![0]);
    }
    let is_alike = |pipeline: &&Pipeline| pipeline.clients.first() == first.clients.first();
    Ok((0..).zip(&origin.pipelines).filter(|(_, pipeline)| is_alike(pipeline)).map(|(number, _)| number).collect())
}

/// What is told of a job that is not converted.
fn left_out(origin: &Origin, first: usize, number: usize, why: &str) -> Finding {
    let (first, other) = (&origin.pipelines[first], &origin.pipelines[number]);
    let text = format!(
        "is not converted beside {}: {why}; convert it with --job {} for a second release: each then sends what its own rules select, \
         as the jobs do now",
        first.name,
        quoted(&other.name)
    );
    Finding::new(Kind::NotPossible, &other.place, format!("job {}", other.name), text)
}

/// Takes over the client of a pipeline; returns its labels.
fn client(origin: &Origin, pipeline: &Pipeline, draft: &mut Draft) -> Vec<Setting> {
    let chosen = pipeline.clients.first().copied().filter(|index| *index < origin.clients.len());
    for (index, other) in origin.clients.iter().enumerate().filter(|(index, _)| Some(*index) != chosen) {
        let is_of = |pipeline: &&Pipeline| pipeline.clients.contains(&index);
        let (kind, text) = if is_of(&pipeline) {
            let text = "one Pilcrow sends to one Loki; install a second release for this client, with the same rules";
            (Kind::NotPossible, text.to_owned())
        } else if let Some(job) = origin.pipelines.iter().find(is_of) {
            (Kind::Changed, format!("is where the lines of the job {} go, which is not converted here", job.name))
        } else {
            (Kind::Changed, "gets no logs of pods, so that it stays with the old collector".to_owned())
        };
        draft.findings.push(Finding::new(kind, &other.place, &*other.name, text));
    }
    let Some(client) = chosen.and_then(|index| origin.clients.get(index)) else {
        let text = "no address of Loki is named here; set loki.url";
        draft.findings.push(Finding::new(Kind::NotPossible, &pipeline.place, "loki.url", text));
        draft.set(placeholder(&pipeline.place, "loki.url"));
        return Vec::new();
    };
    client.settings.iter().for_each(|setting| draft.set(setting.clone()));
    if draft.get("loki.url").is_none() {
        draft.set(placeholder(&client.place, "loki.url"));
    }
    draft.findings.extend(client.findings.iter().cloned());
    draft.chart.extend(client.chart.iter().cloned());
    client.labels.clone()
}

/// What stands for an address of Loki that is not known: nothing starts with it by mistake.
const NO_URL: &str = "${LOKI_URL}";

/// The place of an address that somebody has to write.
fn placeholder(place: &Place, from: &str) -> Setting {
    let from = format!("{from} PLACEHOLDER: write the address of Loki here");
    Setting::new("loki.url", Tree::text(place, NO_URL), from)
}

/// Whether the address of Loki has still to be written.
#[must_use]
pub fn has_placeholder(draft: &Draft) -> bool {
    draft.get("loki.url").is_some_and(|setting| setting.from.contains(" PLACEHOLDER: "))
}

/// Why the value of a label of discovery is not known.
fn why_not_known(name: &str) -> Option<String> {
    if let Some(why) = docker::why_not_known(name) {
        return Some(why.into());
    }
    let other = ["__journal_", "__syslog_", "__gcp_", "__meta_consul"];
    if other.iter().any(|prefix| name.starts_with(prefix)) {
        return Some("it is none of a pod".into());
    }
    why_unknown(name)
}

/// The text of a field of a rule or a stage.
fn field<'t>(tree: &'t Tree, key: &str) -> &'t str {
    tree.get(key).and_then(|pair| pair.value.as_text()).unwrap_or("")
}

/// The texts of a field that is a list, or one text.
fn list<'t>(tree: &'t Tree, key: &str) -> Vec<&'t str> {
    let Some(pair) = tree.get(key) else { return Vec::new() };
    match &pair.value.value {
        Value::Text(text) => vec![text],
        _ => pair.value.items().iter().filter_map(Tree::as_text).collect(),
    }
}

/// `FILE:LINE`, as comments have it.
fn origin_of(place: &Place) -> String {
    format!("{}:{}", place.file, place.line)
}
