//! Containers and folders whose file system does not answer: set aside until it does.
//!
//! In: calls that were left behind ([`super::apart`]), and on whose account. Out: who is read again since the call returned.
//! One that is set aside is neither read, nor listed, nor given up; its files stay open.

use std::time::Instant;

use super::{
    Tailer,
    apart::{self, Left},
    folders::Folder,
};
use crate::{model::UnitId, tail::read::RangeReader};

/// What is set aside, each with the call that it waits for.
#[derive(Debug, Default)]
pub struct Stalls(Vec<(Folder, Left)>);

impl Stalls {
    /// Whether a folder is set aside.
    pub fn contains(&self, folder: &Folder) -> bool {
        self.0.iter().any(|(stalled, _)| stalled == folder)
    }

    /// Whether anything is.
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }

    fn take_returned(&mut self) -> Vec<Folder> {
        self.0.extract_if(.., |(_, left)| left.has_returned()).map(|(folder, _)| folder).collect()
    }
}

impl super::State {
    /// Sets a folder aside until a call returns.
    pub(super) fn stall(&mut self, folder: Folder, left: Left) {
        if self.stalls.contains(&folder) {
            return;
        }
        self.metrics.stalled_calls.inc();
        let mut path = self.config.paths.pods.clone();
        match &folder {
            Folder::Pods => {}
            Folder::Pod(name) => path.push(name),
            Folder::Container(id) => {
                let Some(unit) = self.units.get_mut(*id) else { return };
                unit.stalled = true;
                path.push(unit.saved_name());
            }
        }
        if let Some(more) = self.throttles.stalled.permit() {
            tracing::warn!(folder = %path.display(), more,
                "a call to the file system does not return: a disk or a mount hangs. The logs of this folder wait until it does, \
                 all others go on");
        }
        self.stalls.0.push((folder, left));
        self.metrics.stalled_folders.set(self.stalls.0.len() as i64);
    }
}

impl<R: RangeReader> Tailer<R> {
    /// Sets a folder aside where a call on its account was left behind just now. Returns whether it was.
    pub(super) fn stall_if_left(&mut self, folder: Folder) -> bool {
        let left = apart::take_left();
        let is_left = left.is_some();
        if let Some(left) = left {
            self.state.stall(folder, left);
        }
        is_left
    }

    /// As [`Self::stall_if_left`], for a container.
    pub(super) fn stall_container_if_left(&mut self, id: UnitId) -> bool {
        self.stall_if_left(Folder::Container(id))
    }

    /// Goes on with what calls have returned for.
    pub(super) fn follow_stalled(&mut self) {
        if !self.state.stalls.any() {
            return;
        }
        self.reader.look_for_returned();
        let returned = self.state.stalls.take_returned();
        if returned.is_empty() {
            return;
        }
        if self.state.throttles.stalled.is_over() {
            tracing::info!(
                folders = returned.len(),
                still_waiting = self.state.stalls.0.len(),
                "calls to the file system that did not return have returned; reading on"
            );
        }
        self.state.metrics.stalled_folders.set(self.state.stalls.0.len() as i64);
        for folder in returned {
            match folder {
                Folder::Pods => self.state.due.rescan = Instant::now(),
                Folder::Pod(name) => self.scan_pod(&name),
                Folder::Container(id) => {
                    if let Some(unit) = self.state.units.get_mut(id) {
                        unit.stalled = false;
                    }
                    self.scan_container(id);
                    self.state.queue(id);
                }
            }
        }
    }
}
