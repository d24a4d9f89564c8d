// k3s' own definition of a HelmChart, which the API server test reads from this module's sources. Nothing imports it: do not tidy.
module pilcrow.dev/e2e/k3s

go 1.26.8

require github.com/k3s-io/helm-controller v0.17.9
