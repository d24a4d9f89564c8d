//! What became of each part of the old setup, for people or as JSON, and what to do next.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    convert::{Draft, has_placeholder},
    docker,
    origin::{Finding, Kind},
    output::{Form, Import, SECRET, TLS_SECRET},
    words::quoted,
};
use crate::admin::terminal::{Kind as Colour, Paint};

/// How the conversion was called, for the commands that come next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Next<'n> {
    pub files: &'n [PathBuf],
    /// Where the new configuration was written.
    pub output: Option<&'n Path>,
    pub job: Option<&'n str>,
}

/// How many findings there are of a kind.
#[must_use]
pub fn count(draft: &Draft, kind: Kind) -> usize {
    draft.findings.iter().filter(|finding| finding.kind == kind).count()
}

/// Writes the report for people.
///
/// # Errors
/// `out` cannot be written to.
pub fn write(draft: &Draft, form: Form, next: &Next<'_>, paint: Paint, out: &mut impl Write) -> anyhow::Result<()> {
    let groups = [
        (Kind::NotPossible, "Not possible, and why", Colour::Bad),
        (Kind::Changed, "Changed, and how", Colour::Changed),
        (Kind::Taken, "Taken over", Colour::Good),
    ];
    for (kind, title, colour) in groups {
        let of_kind: Vec<&Finding> = draft.findings.iter().filter(|finding| finding.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        writeln!(out, "{}", paint.text(colour, &format!("{title} ({}):", of_kind.len())))?;
        for finding in of_kind {
            writeln!(out, "  {}: {}: {}", finding.place, finding.what, paint.text(Colour::Title, &finding.text))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "Next:")?;
    for (index, step) in steps(draft, form, next).iter().enumerate() {
        writeln!(out, "  {}. {step}", index + 1)?;
    }
    let [taken, changed, not_possible] = [Kind::Taken, Kind::Changed, Kind::NotPossible].map(|kind| count(draft, kind));
    writeln!(out, "{taken} taken over, {changed} changed, {not_possible} not possible")?;
    Ok(())
}

/// Writes the report as one JSON object.
///
/// # Errors
/// `out` cannot be written to.
pub fn write_json(draft: &Draft, form: Form, next: &Next<'_>, out: &mut impl Write) -> anyhow::Result<()> {
    let findings: Vec<Value> = draft
        .findings
        .iter()
        .map(|Finding { kind, place, what, text }| {
            let kind = match kind {
                Kind::Taken => "taken",
                Kind::Changed => "changed",
                Kind::NotPossible => "not_possible",
            };
            json!({
                "kind": kind, "file": &*place.file, "line": place.line, "column": place.column, "what": what, "text": text,
            })
        })
        .collect();
    writeln!(out, "{}", json!({"findings": findings, "next": steps(draft, form, next)}))?;
    Ok(())
}

/// What to do with the result.
fn steps(draft: &Draft, form: Form, next: &Next<'_>) -> Vec<String> {
    let mut steps = Vec::new();
    let output = next.output.map_or("", |output| output.to_str().unwrap_or_default());
    let output = match form {
        _ if !output.is_empty() => quoted(output),
        Form::Config => "pilcrow.yaml".to_owned(),
        Form::Values => "values.yaml".to_owned(),
    };
    if has_placeholder(draft) {
        steps.push(format!("Write the address of Loki to loki.url in {output}: there is a placeholder now."));
    }
    if count(draft, Kind::NotPossible) > 0 {
        steps.push("Decide on what is not possible: each line above says what to do instead.".to_owned());
    }
    let has = |key: &str| draft.get(key).is_some();
    let [password, token] = [has("loki.basic_auth.password_file"), has("loki.bearer_token_file")];
    let tls = ["loki.tls.ca_file", "loki.tls.cert_file", "loki.tls.key_file"].into_iter().any(has);
    if form == Form::Values {
        let has_secret = draft.chart.iter().any(|setting| setting.key.ends_with("existingSecret"));
        if (password || token) && !has_secret {
            let key = if password { "password" } else { "token" };
            steps.push(format!(
                "Make the Secret: kubectl -n pilcrow create secret generic {SECRET} --from-file={key}=FILE"
            ));
        }
        if tls {
            steps.push(format!(
                "Make the Secret: kubectl -n pilcrow create secret generic {TLS_SECRET} --from-file=ca.crt=FILE (and tls.crt, tls.key \
                 where the client has a certificate)"
            ));
        }
    }
    steps.push(match form {
        Form::Config => format!("Check it: pilcrow check --config {output}"),
        Form::Values => format!("Check it: helm template pilcrow deploy/helm/pilcrow --values {output}"),
    });
    let job = next.job.map_or_else(String::new, |job| format!(" --job {}", quoted(job)));
    let files: Vec<String> = next.files.iter().map(|file| name_of(file)).collect();
    let files = if files.is_empty() { "FILE".to_owned() } else { files.join(" ") };
    steps.push(if has(docker::KEY) {
        format!("Look at what it makes of the last lines, once it has run: pilcrow try --config {output}")
    } else {
        format!("Prove it on a node, with its own pods and lines: pilcrow migrate --prove{job} {files}")
    });
    steps.extend([positions(draft, form, &output), INSTALL.to_owned(), REMOVE.to_owned()]);
    steps
}

/// As in docs/migration.md, whose steps are the same.
const INSTALL: &str = "Install Pilcrow. Both may run side by side: Loki stores a line only once where labels, time and text are the same; \
                       where labels differ (a label filename, for one) every line is stored twice, so stop the old collector first";
const REMOVE: &str = "Check that Pilcrow runs on every node, and that dashboards and alerts find their labels; then remove the old collector";

/// How to go on where the old collector stopped.
fn positions(draft: &Draft, form: Form, output: &str) -> String {
    let Some(positions) = &draft.positions else {
        let begins_at_end = draft.get("start_at").is_some_and(|setting| setting.value.as_text() == Some("end"));
        let text = "Start Pilcrow before you stop the old collector: with start_at: end it sends what is written from then on, and Loki \
                    stores a line only once that both send with the same labels";
        let none = "There are no positions of the old collector to take over: from the beginning (start_at, the default) Pilcrow sends what \
                    the nodes still have, with start_at: end only what is written from then on";
        return if begins_at_end { text } else { none }.to_owned();
    };
    let Some(import) = Import::of(draft) else {
        let file = positions.value.as_text().unwrap_or("");
        return format!(
            "Take the positions over, if Alloy's storage path is a folder of the node (its chart: a volume of hostPath): migrate.from: alloy \
             with migrate.path, that folder, in which it has {file}; else choose start_at"
        );
    };
    let place = import.place();
    match (form, &import) {
        (Form::Config, _) => {
            let file = positions.value.as_text().filter(|_| draft.positions_folder.is_none());
            let place = quoted(file.unwrap_or(place));
            format!(
                "Take the old collector's positions over on each node, before Pilcrow's first start: pilcrow import-positions --config {output} {place}"
            )
        }
        (Form::Values, Import::From(from, _)) => format!(
            "The old collector's positions are taken over by each pod at its first start, from {place} of the node (migrate.from: {from}; migrate.path is for \
             another folder)"
        ),
        (Form::Values, Import::File(_)) => format!(
            "The old collector's positions are taken over by each pod at its first start, from {place} of the node (importPositions.file; correct it if the \
             old chart mounts that folder from elsewhere on the node)"
        ),
    }
}

/// A file in a command; what was read from standard input has to be named anew.
fn name_of(file: &Path) -> String {
    if file.as_os_str() == "-" { "FILE".to_owned() } else { quoted(&file.display().to_string()) }
}
