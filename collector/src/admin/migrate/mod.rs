//! `pilcrow migrate`: from another collector's configuration to Pilcrow's.
//!
//! In: files of Promtail, the Grafana Agent, Alloy, or their charts. Out: a configuration of Pilcrow, and a report of what was
//! taken over, what was changed and what is not possible, each with its place. A reader turns a file into an [`origin::Origin`].

pub mod origin;
