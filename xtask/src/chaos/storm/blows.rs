//! What the blows do.
//!
//! In: an [`Episode`]. Out: its blow has been dealt, and is over. Waits until the collector may be ended, or a log truncated,
//! without loss.

use rig::{kubelet::Container, metrics::Metrics, read_errors::ReadErrors};

use super::Storm;
use crate::chaos::plan::{Blow, Episode, Start};

impl Storm<'_> {
    pub(super) fn strike(&mut self, episode: &Episode) -> anyhow::Result<()> {
        match episode.blow {
            Blow::None => {}
            Blow::Kill => {
                self.kill_collector()?;
                self.pass(episode.blow_for)?;
                self.start_collector(episode.start)?;
            }
            Blow::Terminate => {
                // Before it serves, it does not listen to SIGTERM either.
                self.wait_until("the collector to serve", |storm| {
                    Ok(Metrics::fetch(storm.collector()?.status_address()).is_ok())
                })?;
                self.end_collector()?;
                self.pass(episode.blow_for)?;
                self.start_collector(episode.start)?;
            }
            Blow::Freeze => {
                self.collector()?.pause()?;
                self.frozen = true;
                self.pass(episode.blow_for)?;
                self.frozen = false;
                self.collector()?.resume()?;
            }
            Blow::FillStateDisk => {
                self.state.fill()?;
                self.pass(episode.blow_for)?;
                self.state.free()?;
            }
            Blow::KillWithFullStateDisk => {
                self.state.fill()?;
                self.pass(episode.blow_for / 2)?;
                self.kill_collector()?;
                self.start_collector(episode.start)?;
                self.pass(episode.blow_for / 2)?;
                self.state.free()?;
            }
            Blow::Truncate => {
                let truncated = |storm: &mut Self| storm.observed_now("pilcrow_truncated_files_total");
                let before = truncated(self);
                self.truncate(episode, |storm| {
                    // Lines that came before the collector looks could make the log longer than it was: then nobody could tell.
                    storm.wait_until("the collector to detect the truncation", |storm| Ok(truncated(storm) > before))
                })?;
            }
            Blow::ReadErrors => self.fail_reads(episode)?,
            Blow::TruncateWhileDown => {
                let (start, pause) = (episode.start, episode.blow_for);
                self.truncate(episode, |_| Ok(()))?;
                self.pass(pause)?;
                self.start_collector(start)?;
            }
        }
        Ok(())
    }

    /// Before reads fail: a collector that makes them by system calls.
    pub(super) fn read_by_system_calls(&mut self, episode: &Episode) -> anyhow::Result<()> {
        if ReadErrors::not_available().is_some() || self.start.reads_by_system_calls() {
            return Ok(());
        }
        self.removals.forbid();
        self.wait_for_owed()?;
        self.kill_collector()?;
        self.start_collector(Start { reader: "pread", ..episode.start })?;
        self.removals.permit(self.pid());
        Ok(())
    }

    /// Half of the log files cannot be read for a while; which half, the episode's container says.
    fn fail_reads(&mut self, episode: &Episode) -> anyhow::Result<()> {
        if ReadErrors::not_available().is_some() {
            return Ok(());
        }
        let (folder, odd) = (self.folder.clone(), episode.container % 2);
        let state = self.state.folder().to_owned();
        self.read_errors.begin(move |path| {
            let is_log =
                path.starts_with(&folder) && !path.starts_with(&state) && path.to_string_lossy().contains(".log");
            // By the folder, which a file keeps through its rotations, so that whole containers are concerned.
            let folder = path.parent().map_or(&[][..], |parent| parent.as_os_str().as_encoded_bytes());
            is_log && folder.iter().map(|byte| usize::from(*byte)).sum::<usize>() % 2 == odd
        });
        let passed = self.pass(episode.blow_for);
        self.read_errors.end();
        passed
    }

    /// Truncates a container's log once all its lines have arrived, and has `meanwhile` done before it writes again. Before a
    /// truncation while it is down, the collector is killed here.
    fn truncate(
        &mut self,
        episode: &Episode,
        meanwhile: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let running = self.live.running();
        let running = &running[episode.container % running.len()];
        running.alone(|container: &mut Container| {
            container.finish_lines()?;
            let written = container.next_lines();
            self.wait_until("all lines of a log", |storm| Ok(storm.receiver.has_all(&written)))?;
            if episode.blow.ends_process() {
                // Where a rotation split a line, its beginning would be read again, and its rest be gone.
                self.wait_for_saved_positions()?;
                self.kill_collector()?;
            }
            if std::fs::metadata(container.log())?.len() == 0 {
                return Ok(());
            }
            container.truncate()?;
            meanwhile(self)
        })
    }
}
