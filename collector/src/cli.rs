//! The command line of `pilcrow`, as clap knows it.
//!
//! In: arguments. Out: a command with its options. It imports nothing of the collector: `cargo xtask` includes this file to
//! make the man pages and the shell completions.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The log collector for ARM Kubernetes nodes.
#[derive(Parser)]
#[command(name = "pilcrow", version, arg_required_else_help = true)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Collect this node's container logs and send them to Loki
    Run(ConfigFile),
    /// Validate a configuration and show what it means, without starting
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// Print only the whole configuration, defaults included, as YAML
        #[arg(long)]
        print: bool,
        /// Print only the rules that make the labels, built-in ones included, as YAML
        #[arg(long, conflicts_with = "print")]
        show_relabel: bool,
    },
    /// Run the tests of a configuration: whether its rules and stages make of lines what they should
    Test {
        #[command(flatten)]
        config: ConfigFile,
        /// Files of further tests, each with nothing but `tests:` in it
        #[arg(value_name = "TESTS")]
        files: Vec<PathBuf>,
    },
    /// Show what the rules and stages of a configuration make of real lines, and what they cost, without sending anything
    Try(TryOptions),
    /// Import the positions file of Promtail, the Grafana Agent or Alloy, so that nothing is sent twice or left out
    ImportPositions {
        #[command(flatten)]
        config: ConfigFile,
        /// Promtail's positions.yaml, the positions.yml of Alloy's loki.source.file, or a folder with such files, as Alloy's storage
        /// path is
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only show what would be imported
        #[arg(long)]
        dry_run: bool,
        /// Replace positions that Pilcrow has saved itself
        #[arg(long)]
        force: bool,
        /// Succeed and do nothing where Pilcrow has saved positions already or FILE is not there: for an init container
        #[arg(long, conflicts_with = "force")]
        once: bool,
    },
    /// Convert the configuration of Promtail, the Grafana Agent or Alloy, or the values of their charts, and report what changed
    Migrate(MigrateOptions),
    /// Show on one screen how the running Pilcrow is doing; the exit code is 0 if it is ready and healthy
    Status {
        #[command(flatten)]
        running: Running,
        /// Print the JSON of /api/v1/status (docs/status.md)
        #[arg(long)]
        json: bool,
    },
    /// Show a live table of the containers of the running Pilcrow; l, b, g, n, s sort, r reverses, q quits
    Top {
        #[command(flatten)]
        running: Running,
    },
    /// Show lines of a container as the running Pilcrow sends them
    Tail(TailOptions),
    /// Show what this machine offers, what is missing and how to fix it
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// Print one JSON object (docs/doctor.md) instead of a table
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    /// The configuration that the command reads; `migrate` makes one.
    pub fn config_file(&self) -> Option<&ConfigFile> {
        match self {
            Self::Migrate(_) => None,
            Self::Run(file)
            | Self::Check { config: file, .. }
            | Self::Test { config: file, .. }
            | Self::Try(TryOptions { config: file, .. })
            | Self::ImportPositions { config: file, .. }
            | Self::Doctor { config: file, .. }
            | Self::Status { running: Running { config: file, .. }, .. }
            | Self::Top { running: Running { config: file, .. } }
            | Self::Tail(TailOptions { running: Running { config: file, .. }, .. }) => Some(file),
        }
    }

    /// Whether [`DEFAULT_FILE`] is read where no file is named.
    pub fn has_default_file(&self) -> bool {
        self.is_check() || matches!(self, Self::Status { .. } | Self::Top { .. } | Self::Tail(_))
    }

    /// Whether it is about the configuration, and so says which file that is.
    pub fn is_check(&self) -> bool {
        matches!(self, Self::Check { .. } | Self::Doctor { .. })
    }

    /// The address of `--url`: then no configuration is needed.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Status { running, .. } | Self::Top { running } | Self::Tail(TailOptions { running, .. }) => {
                running.url.as_deref()
            }
            _ => None,
        }
    }
}

/// Where the configuration lies in the image and in the packages.
pub const DEFAULT_FILE: &str = "/etc/pilcrow/pilcrow.yaml";

/// Which running Pilcrow is meant.
#[derive(Args)]
pub struct Running {
    /// Its address, http://HOST:PORT; without one, http.listen of the configuration on this machine
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    #[command(flatten)]
    pub config: ConfigFile,
}

#[derive(Args)]
pub struct TailOptions {
    #[command(flatten)]
    pub running: Running,
    /// Whose lines; of a pod the beginning of its name is enough
    #[arg(value_name = "[NAMESPACE/]POD[/CONTAINER]")]
    pub target: String,
    /// Lines as they were read
    #[arg(long, conflicts_with = "processed")]
    pub raw: bool,
    /// Lines as they are sent, after all stages, with labels and metadata: the default
    #[arg(long)]
    pub processed: bool,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "RE")]
    pub grep: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Lines are the last ones of this node's containers, or those of files or of standard input.
#[derive(Args)]
pub struct TryOptions {
    #[command(flatten)]
    pub config: ConfigFile,
    /// Only containers of this namespace; for other lines, what they count as from
    #[arg(long, short, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Only pods of this name, or whose names begin with it and a dash; for other lines, what they count as from
    #[arg(long, short, value_name = "NAME")]
    pub pod: Option<String>,
    /// Only containers of this name; for other lines, what they count as from
    #[arg(long, short, value_name = "NAME")]
    pub container: Option<String>,
    /// A label beside those that the rules make, such as app=web; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    pub labels: Vec<(String, String)>,
    /// Only the last N lines [default: 100 of each container, else all]
    #[arg(long, value_name = "N")]
    pub lines: Option<usize>,
    /// Lines from standard input, such as those of kubectl logs
    #[arg(long, conflicts_with = "files")]
    pub stdin: bool,
    /// Show what each stage did
    #[arg(long)]
    pub explain: bool,
    /// Print JSON, one object a line (docs/pipeline.md)
    #[arg(long)]
    pub json: bool,
    /// Files with lines, of CRI, of docker or as they are, also compressed (.gz)
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// The new configuration goes to standard output, the report to standard error.
#[derive(Args)]
pub struct MigrateOptions {
    /// Configurations, values files of charts, or manifests with one of them (ConfigMap, Secret); - is standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Print values of Pilcrow's chart instead of a configuration
    #[arg(long)]
    pub values: bool,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Fail (exit code 1) where something is not possible
    #[arg(long)]
    pub strict: bool,
    /// Print the report as one JSON object (docs/migration.md)
    #[arg(long)]
    pub json: bool,
    /// Convert the job of this name, where several collect pod logs
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// Compare what the old rules and the new configuration make of the last lines of this node's pods; fails where they differ
    #[arg(long, conflicts_with_all = ["values", "output", "strict", "json"])]
    pub prove: bool,
    /// With --prove: the kubelet's folder of pod logs [default: that of the configuration, /var/log/pods]
    #[arg(long, value_name = "FOLDER", requires = "prove")]
    pub pods: Option<PathBuf>,
    /// With --prove: only the last N lines of each container [default: 100]
    #[arg(long, value_name = "N", requires = "prove")]
    pub lines: Option<usize>,
    /// With --prove: compare with this configuration instead of what FILE is converted to
    #[arg(long, value_name = "FILE", requires = "prove")]
    pub config: Option<PathBuf>,
    /// With --prove: also ask the Loki at this address which streams it has of these pods, with the tenant, credentials and
    /// certificates of the new configuration
    #[arg(long, value_name = "URL", requires = "prove")]
    pub loki: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("expected NAME=VALUE, found {text:?}")),
    }
}

#[derive(Args)]
pub struct ConfigFile {
    /// YAML file; without one, LOKI_URL and NODE_NAME in the environment are enough. check, doctor, status, top and tail then
    /// read /etc/pilcrow/pilcrow.yaml where it is
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
