//! The real program on a temporary pods folder, against the strict receiver.

mod descriptors;
mod exclusion;
mod hold;
mod hostile;
mod import;
mod kill;
mod kubernetes;
mod pods_api;
mod positions;
mod program;
mod recorded;
mod relabel;
mod rotation;
mod start_and_stop;
