// The YAML library of the daemon, in the version that its own go.mod has.
module testbed/yaml

go 1.24

require sigs.k8s.io/yaml v1.4.0
