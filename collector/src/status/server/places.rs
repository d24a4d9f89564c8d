//! A bounded number of connections, to which a new one is always added.
//!
//! In: a peer's address and what is to be done for it. Out: that, run as a task, or an older one ended for it. Where all places
//! are taken, the peer that has most of them loses its oldest that has asked for nothing yet, else its oldest: a client that opens many
//! connections, or never closes them, takes places only from itself. Connections that became viewers of lines take no place: their number is bounded elsewhere.

use std::{collections::HashMap, net::IpAddr};

use tokio::task::JoinHandle;

use super::tail::Activity;

/// Connections being served, the oldest first; dropping this ends them.
pub(super) struct Places {
    most: usize,
    taken: Vec<Place>,
}

struct Place {
    peer: IpAddr,
    activity: Activity,
    task: JoinHandle<()>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Vec::with_capacity(most) }
    }

    /// Runs `serving` on the current runtime. `activity` tells whether it became a viewer's.
    pub(super) fn give(
        &mut self,
        peer: IpAddr,
        activity: Activity,
        serving: impl Future<Output = ()> + Send + 'static,
    ) {
        self.taken.retain(|place| !place.task.is_finished());
        let short: Vec<usize> =
            (0..self.taken.len()).filter(|index| !self.taken[*index].activity.is_viewers()).collect();
        if short.len() >= self.most {
            let peers: Vec<(IpAddr, bool)> =
                short.iter().map(|index| (self.taken[*index].peer, self.taken[*index].activity.has_asked())).collect();
            self.taken.remove(short[victim(&peers)]).task.abort();
        }
        self.taken.push(Place { peer, activity, task: tokio::spawn(serving) });
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.taken.iter().for_each(|place| place.task.abort());
    }
}

/// The index of the connection to be ended, of connections each with its peer and whether its request has come.
fn victim(connections: &[(IpAddr, bool)]) -> usize {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    for (peer, _) in connections {
        *counts.entry(*peer).or_default() += 1;
    }
    let most = counts.values().max();
    let has_most = |(peer, _): &&(IpAddr, bool)| counts.get(peer) == most;
    let Some((peer, _)) = connections.iter().find(has_most) else { return 0 };
    let silent = connections.iter().position(|connection| *connection == (*peer, false));
    silent.or_else(|| connections.iter().position(|connection| connection.0 == *peer)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_with_most_connections_loses_its_oldest_that_is_silent() {
        let [kubelet, prometheus, flood] = [1, 2, 3].map(|last| IpAddr::from([10, 0, 0, last]));
        let silent = |peer| (peer, false);
        let asked = |peer| (peer, true);
        assert_eq!(victim(&[kubelet, prometheus, flood, flood].map(silent)), 2);
        assert_eq!(victim(&[kubelet, flood, prometheus].map(silent)), 0, "where all have one, the oldest");
        assert_eq!(victim(&[silent(kubelet), asked(flood), silent(flood), silent(flood)]), 2, "a request is answered");
        assert_eq!(victim(&[silent(kubelet), asked(flood), asked(flood)]), 1, "but no peer takes another's place");
    }
}
