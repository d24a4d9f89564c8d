//! `pilcrow check`: what a configuration means, in sentences.
//!
//! In: a validated [`Config`]. Out: text. Looks only at whether the files that it names are there, and warns of those
//! that are not: the configuration may be for another machine. Where there are logs, labels with many values are counted in them. What `auto` chooses is the machine's answer: that is
//! `pilcrow doctor`'s.

mod estimate;
mod labels;
mod processing;
mod relabelling;

use std::{io, path::Path};

use self::relabelling::Relabelling;
pub use self::{labels::too_many_labels, relabelling::write_rules};
use crate::{
    compiled::Compiled,
    config::{
        Compression, Config, Enabled, Kubernetes, Oversize, Rate, ReaderChoice, RefusedStreams, SignalChoice, StartAt,
        read_named_file,
    },
};

/// Writes the whole configuration as YAML and nothing else, secrets hidden.
///
/// # Errors
/// `out` cannot be written to.
pub fn write_yaml(config: &Config, out: &mut impl io::Write) -> anyhow::Result<()> {
    writeln!(out, "{}", config.to_yaml()?.trim_end())?;
    Ok(())
}

/// Says what the configuration means.
///
/// # Errors
/// `out` cannot be written to.
pub fn write(compiled: &Compiled, out: &mut impl io::Write) -> anyhow::Result<()> {
    let config = &compiled.config;
    let relabelling = Relabelling::of(compiled);
    writeln!(out, "The configuration is valid:")?;
    for sentence in sentences(config, &relabelling) {
        writeln!(out, "- {sentence}")?;
    }
    let retired = compiled.warnings.iter().map(ToString::to_string);
    let others = warnings(config).into_iter().chain(relabelling.warnings(config)).chain(estimate::warnings(compiled));
    let others = others.chain(too_many_labels(compiled).filter(|_| !relabelling.has_problem()));
    for warning in retired.chain(others) {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}

fn sentences(config: &Config, relabelling: &Relabelling<'_>) -> Vec<String> {
    let loki = &config.loki;
    let mut sentences = vec![
        format!("Lines go to Loki at {}{}{}.", loki.url, tenant(config), authentication(config)),
        format!(
            "A batch is sent when it holds {} or is {} old; a failed push is retried after {}, later after {} at most, until \
             Loki accepts it.",
            loki.batch.bytes, loki.batch.age, loki.backoff.min, loki.backoff.max
        ),
        streams(config),
        relabelling.sentence(config),
        format!("{}; {}.", folder(config), start(config)),
        format!("Positions are kept in {}.", config.paths.state.display()),
        backends(config),
        kubernetes(config),
        selection(config),
        lines(config),
        hold(config),
    ];
    sentences.splice(4..4, processing::sentences(config));
    if loki.compression == Compression::None {
        sentences.insert(2, "Requests are sent without compression.".into());
    }
    if !loki.headers.is_empty() {
        let names: Vec<&str> = loki.headers.keys().map(String::as_str).collect();
        sentences.insert(1, format!("Every request carries the headers {}.", names.join(", ")));
    }
    if loki.tls.insecure_skip_verify {
        sentences.insert(1, "Loki's certificate is NOT verified.".into());
    }
    sentences.push(format!(
        "Metrics, readiness and health are served on http://{}/; not ready after lines have waited for {} without an \
         acknowledgement.",
        config.http.listen, config.ready.after
    ));
    sentences
}

fn tenant(config: &Config) -> String {
    match config.loki.tenant.as_str() {
        "" => ", without a tenant".into(),
        tenant => format!(", for tenant {tenant}"),
    }
}

fn authentication(config: &Config) -> String {
    let loki = &config.loki;
    if !loki.basic_auth.username.is_empty() {
        let file = loki.basic_auth.password_file.display();
        format!(", as user {} with the password in {file}", loki.basic_auth.username)
    } else if !loki.bearer_token_file.as_os_str().is_empty() {
        format!(", with the bearer token in {}", loki.bearer_token_file.display())
    } else {
        String::new()
    }
}

fn streams(config: &Config) -> String {
    let rate = match config.loki.stream_rate {
        Rate::PerSecond(rate) => {
            format!("A stream is sent at {rate} a second at most, {} at once", config.loki.stream_burst)
        }
        Rate::Unlimited => "Streams are sent as fast as Loki answers".into(),
    };
    match config.loki.refused_streams {
        RefusedStreams::Wait => format!("{rate}; one that Loki refuses waits on the disk until Loki accepts it."),
        RefusedStreams::DropAfter(after) => {
            format!("{rate}; the lines of one that Loki refuses for {after} are dropped, and counted.")
        }
    }
}

fn start(config: &Config) -> &'static str {
    match config.start_at {
        StartAt::Beginning => "those without a saved position from their beginning",
        StartAt::End => "those without a saved position from their end: what was written before is left out",
    }
}

fn backends(config: &Config) -> String {
    let signal = match config.signal {
        SignalChoice::Auto => "eBPF if the kernel allows it, else inotify, else polling (`pilcrow doctor` says which)",
        SignalChoice::Ebpf => "eBPF, and Pilcrow does not start where that is not possible",
        SignalChoice::Inotify => "inotify",
        SignalChoice::Poll => "polling",
    };
    let reader = match config.reader.backend {
        ReaderChoice::Auto => "io_uring if the kernel allows it, else pread",
        ReaderChoice::IoUring => "io_uring, and Pilcrow does not start where that is not possible",
        ReaderChoice::Pread => "pread",
    };
    format!(
        "Growth of log files is detected by {signal}; a sweep every {} finds any that were missed. Files are read by {reader}.",
        config.sweep.interval
    )
}

fn folder(config: &Config) -> String {
    match config.paths.docker() {
        Some(docker) => format!("Logs of Docker's containers are read from {}", docker.display()),
        None => format!("Logs are read from {}", config.paths.pods.display()),
    }
}

fn kubernetes(config: &Config) -> String {
    let Kubernetes { enabled, node_name, kubeconfig, wait, .. } = &config.kubernetes;
    if *enabled == Enabled::False {
        return "The Kubernetes API is not used: labels come from the paths, and there is no app label.".into();
    }
    let by = match kubeconfig.as_os_str().is_empty() {
        true => "by the service account of Pilcrow's pod".into(),
        false => format!("by the kubeconfig {}", kubeconfig.display()),
    };
    let node = if node_name.is_empty() { "a node that is not named".into() } else { format!("the node {node_name}") };
    let impossible = match enabled {
        Enabled::True => "Pilcrow does not start",
        _ => "labels come from the paths, without app",
    };
    format!(
        "The Kubernetes API is asked for the pods of {node}, {by}; where that is not possible, {impossible}. A new pod's \
         first lines wait {wait} for its answer."
    )
}

fn selection(config: &Config) -> String {
    let Kubernetes { enabled, namespaces, pod_selector, .. } = &config.kubernetes;
    let mut sentence = match &namespaces.include[..] {
        [] => "Logs of all namespaces are collected".into(),
        names => format!("Only logs of the namespaces {} are collected", names.join(", ")),
    };
    if !namespaces.exclude.is_empty() {
        sentence += &format!(", but not those of {}", namespaces.exclude.join(", "));
    }
    if *enabled != Enabled::False {
        if !pod_selector.is_empty() {
            sentence += &format!(", of pods with the labels {pod_selector}");
        }
        sentence += "; pods with the annotation pilcrow.dev/exclude: \"true\" are left out";
    }
    sentence + "."
}

fn lines(config: &Config) -> String {
    let oversize = match config.lines.oversize {
        Oversize::Split => "are split into several entries",
        Oversize::Cut => "are cut, and counted",
    };
    format!("Lines of more than {} {oversize}.", config.lines.max_bytes)
}

fn hold(config: &Config) -> String {
    let (bytes, age) = (config.hold.bytes, config.hold.age);
    if bytes.0 == 0 {
        return "A log file that is deleted before it is read is given up at the next sweep.".into();
    }
    let age = if age.0.is_zero() { String::new() } else { format!(", and each for {age}") };
    format!(
        "Log files that are deleted before they are read are held open, up to {bytes} on the disk{age}; past that, the \
         first that was deleted is given up, and counted."
    )
}

fn warnings(config: &Config) -> Vec<String> {
    let loki = &config.loki;
    let mut warnings = Vec::new();
    let files = [
        ("loki.basic_auth.password_file", &loki.basic_auth.password_file),
        ("loki.bearer_token_file", &loki.bearer_token_file),
        ("loki.tls.ca_file", &loki.tls.ca_file),
        ("loki.tls.cert_file", &loki.tls.cert_file),
        ("loki.tls.key_file", &loki.tls.key_file),
        ("kubernetes.kubeconfig", &config.kubernetes.kubeconfig),
    ];
    for (key, file) in files {
        if let Some(error) = missing(file) {
            warnings.push(format!("{key}: {} cannot be read on this machine: {error}", file.display()));
        }
    }
    let plain = loki.url.starts_with("http://");
    if plain && (!loki.basic_auth.username.is_empty() || !loki.bearer_token_file.as_os_str().is_empty()) {
        warnings.push("loki.url is http://: the password or token travels unencrypted".into());
    }
    if plain && loki.tls != Default::default() {
        warnings.push("loki.tls has no effect, as loki.url is http://".into());
    }
    if loki.stream_rate == Rate::Unlimited {
        warnings.push(
            "loki.stream_rate is unlimited: lines past Loki's per_stream_rate_limit may be lost, as Loki does not always \
             report them"
                .into(),
        );
    }
    if config.debug.drop_signals > 0.0 {
        warnings.push(format!(
            "debug.drop_signals is {}: that share of the signals is dropped, and those lines wait for the sweep",
            config.debug.drop_signals
        ));
    }
    warnings
}

fn missing(file: &Path) -> Option<io::Error> {
    if file.as_os_str().is_empty() { None } else { read_named_file(file).err() }
}
