//! deploy/install.sh and uninstall.sh: what they ask and do, with a kubectl and a helm that only write down what they are
//! called with. `cargo xtask e2e --kube` runs them with the real ones against a real API server.

mod cluster;
mod installing;
mod moving_in;
mod pages;
mod printed;
mod real_tools;
mod what_pods_need;
