// The real cri-resmgr daemon for the test bed, by name and version only.
// The test bed copies this module's folder out of the module cache, adds what its archive lacks
// (generated/, topology/) and builds it there with the module's own go.mod.
module testbed/cri-resource-manager

go 1.24

tool github.com/intel/cri-resource-manager/cmd/cri-resmgr

require github.com/intel/cri-resource-manager v0.9.2

replace github.com/intel/cri-resource-manager/pkg/topology v0.0.0 => ./topology
