//! The real program on a temporary pods folder, against the strict receiver.

mod annotations;
mod bounds;
mod descriptors;
mod exclusion;
mod folders;
mod fuse;
mod hold;
mod hostile;
mod hostile_pods;
mod hung_mount;
mod import;
mod kill;
mod kubernetes;
mod last_stream;
mod losses;
mod pipeline;
mod pods_api;
mod positions;
mod processing;
mod program;
mod read_errors;
mod recorded;
mod refusals;
mod relabel;
mod rotation;
mod start_and_stop;
