//! What became of each part of the old setup, for people or as JSON, and what to do next.

use std::io::Write;

use serde_json::{Value, json};

use super::{
    convert::Draft,
    origin::{Finding, Kind},
    output::{Form, SECRET, TLS_SECRET, is_absolute},
};
use crate::admin::terminal::{Kind as Colour, Paint};

/// How many findings there are of a kind.
#[must_use]
pub fn count(draft: &Draft, kind: Kind) -> usize {
    draft.findings.iter().filter(|finding| finding.kind == kind).count()
}

/// Writes the report for people.
///
/// # Errors
/// `out` cannot be written to.
pub fn write(draft: &Draft, form: Form, paint: Paint, out: &mut impl Write) -> anyhow::Result<()> {
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
    for (index, step) in steps(draft, form).iter().enumerate() {
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
pub fn write_json(draft: &Draft, form: Form, out: &mut impl Write) -> anyhow::Result<()> {
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
    writeln!(out, "{}", json!({"findings": findings, "next": steps(draft, form)}))?;
    Ok(())
}

/// What to do with the result.
fn steps(draft: &Draft, form: Form) -> Vec<String> {
    let mut steps = Vec::new();
    if count(draft, Kind::NotPossible) > 0 {
        steps.push("Decide on what is not possible: each line above says what to do instead.".to_owned());
    }
    let has = |key: &str| draft.get(key).is_some();
    let [password, token] = [has("loki.basic_auth.password_file"), has("loki.bearer_token_file")];
    let tls = ["loki.tls.ca_file", "loki.tls.cert_file", "loki.tls.key_file"].into_iter().any(has);
    if form == Form::Values {
        if password || token {
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
        Form::Config => "Check it: pilcrow check --config pilcrow.yaml".to_owned(),
        Form::Values => "Check it: helm template pilcrow deploy/helm/pilcrow --values values.yaml".to_owned(),
    });
    steps.push("Prove it on a node, with its own pods and lines: pilcrow migrate --prove FILE".to_owned());
    if let Some(positions) = &draft.positions {
        let file = positions.value.as_text().unwrap_or("");
        steps.push(match form {
            _ if !is_absolute(positions) => format!(
                "Take the positions over, if Alloy's storage path is a folder of the node: its file {file} is for pilcrow \
                 import-positions, or the chart's importPositions.file; else choose start_at"
            ),
            Form::Config => format!(
                "Stop the old collector, then take its positions over on each node: pilcrow import-positions --config pilcrow.yaml {file}"
            ),
            Form::Values => format!(
                "Stop the old collector, then install: each pod takes the positions in the node's {file} over at its first start \
                 (importPositions.file; correct it if the old chart mounts that folder from elsewhere on the node)"
            ),
        });
    }
    steps
}
