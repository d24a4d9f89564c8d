//! `pilcrow tail`: lines of a container as the running program reads or sends them.
//!
//! In: `[NAMESPACE/]POD[/CONTAINER]`. Out: a line for each, until the reader of standard output or the program goes.

use std::io;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::{Remote, encoded};
use crate::{
    admin::terminal::{Kind, Paint, count, time},
    status::view::{TailRow, UnitList, UnitRow},
};

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct Request {
    /// `[NAMESPACE/]POD[/CONTAINER]`; of a pod the beginning of its name is enough.
    pub target: String,
    pub raw: bool,
    pub grep: Option<String>,
    pub json: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Target<'t> {
    namespace: Option<&'t str>,
    pod: &'t str,
    container: Option<&'t str>,
}

/// Writes lines until there is an error.
///
/// # Errors
/// There is no such container, no answer, or the answer breaks off.
pub fn run(remote: &Remote, request: &Request, colours: bool, out: &mut impl io::Write) -> anyhow::Result<()> {
    let units: UnitList = remote.get("/api/v1/units")?;
    let target = Target::of(&request.target, &units.units)?;
    let mut path =
        format!("/api/v1/tail?pod={}&mode={}", encoded(target.pod), if request.raw { "raw" } else { "processed" });
    let parameters =
        [("namespace", target.namespace), ("container", target.container), ("grep", request.grep.as_deref())];
    for (name, value) in parameters {
        if let Some(value) = value {
            path += &format!("&{name}={}", encoded(value));
        }
    }
    let shows_container = units.units.iter().filter(|unit| target.selects(unit)).count() != 1;
    let (mut event, paint) = (String::new(), Paint { colours });
    for line in remote.lines(&path)? {
        let line = line.context("the connection broke")?;
        if let Some(name) = line.strip_prefix("event: ") {
            name.clone_into(&mut event);
        } else if let Some(data) = line.strip_prefix("data: ") {
            match (event.as_str(), request.json) {
                ("line", true) => writeln!(out, "{data}")?,
                ("line", false) => write(&serde_json::from_str(data)?, shows_container, paint, out)?,
                ("dropped", _) => {
                    #[derive(Deserialize)]
                    struct Dropped {
                        lines: u64,
                    }
                    let Dropped { lines } = serde_json::from_str(data)?;
                    out.flush()?;
                    eprintln!(
                        "pilcrow: {} not shown, as they came too fast; --grep selects some",
                        count(lines, "line", "lines")
                    );
                }
                _ => {}
            }
            out.flush()?;
        }
    }
    bail!("Pilcrow has ended")
}

fn write(row: &TailRow, shows_container: bool, paint: Paint, out: &mut impl io::Write) -> io::Result<()> {
    let at = row.time_ns.parse().map_or_else(|_| row.time_ns.clone(), time);
    write!(out, "{} ", paint.text(Kind::Aside, &at))?;
    if shows_container {
        write!(out, "{} ", paint.text(Kind::Title, &format!("{}/{}/{}", row.namespace, row.pod, row.container)))?;
    }
    let kind = if row.stream == "stderr" { Kind::Bad } else { Kind::Good };
    writeln!(out, "{} {}", paint.text(kind, &row.stream), super::super::terminal::Printable(&row.text))?;
    if let Some(labels) = &row.labels {
        let metadata = row.metadata.iter().flatten().map(|(name, value)| format!(" {name}={value:?}"));
        let metadata: String = metadata.collect();
        writeln!(out, "  {}", paint.text(Kind::Aside, &format!("{labels}{metadata}")))?;
    }
    Ok(())
}

impl<'t> Target<'t> {
    /// With two words, the first is a namespace if there is one of that name with such a pod.
    fn of(text: &'t str, units: &[UnitRow]) -> anyhow::Result<Self> {
        let target = match text.split('/').collect::<Vec<_>>()[..] {
            [pod] => Self { pod, ..Self::default() },
            [first, second] => {
                let with_namespace = Self { namespace: Some(first), pod: second, container: None };
                match units.iter().any(|unit| with_namespace.selects(unit)) {
                    true => with_namespace,
                    false => Self { namespace: None, pod: first, container: Some(second) },
                }
            }
            [namespace, pod, container] => Self { namespace: Some(namespace), pod, container: Some(container) },
            _ => bail!("expected [NAMESPACE/]POD[/CONTAINER], found {text:?}"),
        };
        if target.pod.is_empty() {
            bail!("expected [NAMESPACE/]POD[/CONTAINER], found {text:?}");
        }
        if !units.iter().any(|unit| target.selects(unit)) {
            bail!("no container of this node is {text}; `pilcrow top` lists all {}", units.len());
        }
        Ok(target)
    }

    fn selects(&self, unit: &UnitRow) -> bool {
        self.namespace.is_none_or(|namespace| namespace == unit.namespace)
            && unit.pod.starts_with(self.pod)
            && self.container.is_none_or(|container| container == unit.container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::view::UnitState;

    fn unit(namespace: &str, pod: &str, container: &str) -> UnitRow {
        UnitRow {
            id: "u1".into(),
            namespace: namespace.into(),
            pod: pod.into(),
            container: container.into(),
            state: UnitState::Collecting,
            reason: String::new(),
            lines: 0,
            bytes: 0,
            lines_per_s: None,
            bytes_per_s: None,
            lag_bytes: 0,
            levels: None,
        }
    }

    #[test]
    fn two_words_are_a_namespace_with_a_pod_or_a_pod_with_a_container() {
        let units = [unit("shop", "web-1", "nginx"), unit("shop", "db-0", "postgres")];
        let of = |text| Target::of(text, &units).map_err(|error| error.to_string());
        assert_eq!(of("web"), Ok(Target { namespace: None, pod: "web", container: None }));
        assert_eq!(of("shop/web"), Ok(Target { namespace: Some("shop"), pod: "web", container: None }));
        assert_eq!(of("db/postgres"), Ok(Target { namespace: None, pod: "db", container: Some("postgres") }));
        assert_eq!(of("shop/web-1/nginx").unwrap().container, Some("nginx"));
        assert_eq!(of("shop/cache"), Err("no container of this node is shop/cache; `pilcrow top` lists all 2".into()));
        assert!(of("a/b/c/d").is_err());
    }

    #[test]
    fn a_line_is_shown_with_what_is_sent_and_cannot_change_the_terminal() {
        let [namespace, pod, container] = ["n", "p", "c"].map(str::to_owned);
        let row = TailRow {
            time_ns: "1767323045000000000".into(),
            unit: "u1".into(),
            namespace,
            pod,
            container,
            stream: "stderr".into(),
            labels: Some("{a=\"b\"}".into()),
            metadata: Some([("level".to_owned(), "warn".to_owned())].into()),
            text: "\x1b[2Jhi".into(),
        };
        let mut out = Vec::new();
        write(&row, true, Paint { colours: false }, &mut out).unwrap();
        let shown = "2026-01-02T03:04:05Z n/p/c stderr \\u{1b}[2Jhi\n  {a=\"b\"} level=\"warn\"\n";
        assert_eq!(String::from_utf8(out).unwrap(), shown);
    }
}
