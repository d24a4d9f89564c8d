//! Any other collector, on the same input: `--peer NAME=COMMAND`.
//!
//! In: a shell command. Out: its processes' figures, the number of its lines, and how many arrived as they were written. What
//! it makes of a line's labels and timestamp, and whether it joins partial ones, is not compared: a line counts, once, when
//! its beginning arrives. It finds the logs itself, or is told of them as by Kubernetes ([`targets`]).

mod http;
mod lines;
mod sink;
mod targets;

use std::{
    fs::File,
    io,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    str::FromStr,
};

use anyhow::{Context, bail};
use rig::program::spawn;
use rustix::process::{Pid, Signal, kill_process_group};

pub use sink::PeerSink;
use targets::Targets;

/// Another collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is called in the table.
    pub name: String,
    command: String,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, command)) if !name.is_empty() && !command.is_empty() => {
                Ok(Self { name: name.to_owned(), command: command.to_owned() })
            }
            _ => Err("NAME=COMMAND is wanted".to_owned()),
        }
    }
}

impl Peer {
    /// Starts it by `sh -c`. The places of logs and Loki replace `{pods}`, `{state}` and `{url}` in the command and are in the
    /// environment: `PODS`, `TARGETS`, `STATE`, `LOKI_URL`, `LOKI_HOST`, `LOKI_PORT`, and `STAGES`, a list of Promtail's. Its output goes to a file in `folder`.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(
        &self,
        folder: &Path,
        pods: &Path,
        state: &Path,
        loki: SocketAddr,
        stages: &str,
    ) -> anyhow::Result<Process> {
        let targets = Targets::new(pods, state);
        targets.write()?;
        let (pods, state) = (pods.display().to_string(), state.display().to_string());
        let url = format!("http://{loki}");
        let script = self.command.replace("{pods}", &pods).replace("{state}", &state).replace("{url}", &url);
        let log = folder.join("peer.log");
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        command.envs([("PODS", pods), ("STATE", state), ("LOKI_URL", url)]);
        command.env("LOKI_HOST", loki.ip().to_string()).env("LOKI_PORT", loki.port().to_string());
        command.env("TARGETS", targets.file()).env("STAGES", stages);
        Ok(Process { name: self.name.clone(), child: spawn(&mut command)?, log, targets })
    }
}

/// A running peer; dropping it kills it and its children.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    targets: Targets,
}

impl Process {
    /// What it was called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says which containers there are now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn announce(&self) -> io::Result<()> {
        self.targets.write()
    }

    /// The shell, or what it became by `exec`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// That it has not ended.
    ///
    /// # Errors
    /// With the end of its log if it has.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = std::fs::read_to_string(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        let lines: Vec<_> = log.lines().collect();
        bail!(
            "{} ended by itself ({status}). Its log:\n{}",
            self.name,
            lines[lines.len().saturating_sub(15)..].join("\n")
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, net::Ipv4Addr};

    use super::*;

    #[test]
    fn a_peer_is_a_name_and_a_command() {
        let peer: Peer = "vector=VAR=1 exec vector".parse().unwrap();
        assert_eq!(peer, Peer { name: "vector".into(), command: "VAR=1 exec vector".into() });
        for text in ["", "vector", "=vector", "vector="] {
            assert!(text.parse::<Peer>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn its_command_learns_where_everything_is_and_its_end_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let peer: Peer = "echo=echo {pods} $STATE {url} $LOKI_HOST:$LOKI_PORT; exit 3".parse().unwrap();
        let loki = SocketAddr::from((Ipv4Addr::LOCALHOST, 3100));
        let (pods, state) = (folder.path().join("pods"), folder.path().join("state"));
        for made in [&pods, &state] {
            fs::create_dir(made).unwrap();
        }
        let mut process = peer.start(folder.path(), &pods, &state, loki, "[]").unwrap();
        process.child.wait().unwrap();
        let said = fs::read_to_string(folder.path().join("peer.log")).unwrap();
        let expected = format!("{} {} http://127.0.0.1:3100 127.0.0.1:3100\n", pods.display(), state.display());
        assert_eq!(said, expected);
        let error = process.check_running().unwrap_err().to_string();
        assert!(error.contains("echo ended by itself") && error.contains("127.0.0.1:3100"), "{error}");
    }
}
