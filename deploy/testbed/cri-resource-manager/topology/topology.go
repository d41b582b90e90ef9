// Package topology stands in for cri-resource-manager's nested module of the same path, which the
// Go module proxy does not serve at any version. It has the symbols that the daemon uses. Devices
// and volumes get no hint from it; hints that kubelet gives through cpusets work as in the original.
package topology

import "errors"

// ProviderKubelet names the hints that come from kubelet's own cpuset assignments.
const ProviderKubelet = "kubelet"

// Hint is a preference for a part of the hardware; each list has the kernel's cpuset syntax.
type Hint struct {
	Provider string
	CPUs     string
	NUMAs    string
	Sockets  string
}

// Hints are hints by the name of what gave them.
type Hints map[string]Hint

// SetSysRoot would set the folder under which sysfs is read; nothing is read here.
func SetSysRoot(string) {}

// FindSysFsDevice answers that it knows no device for any path.
func FindSysFsDevice(string) (string, error) {
	return "", errors.New("no device topology in this build")
}

// NewTopologyHints has no hints for any device.
func NewTopologyHints(string) (Hints, error) { return Hints{}, nil }

// MergeTopologyHints adds the hints that are not there yet.
func MergeTopologyHints(into, from Hints) Hints {
	if into == nil {
		into = Hints{}
	}
	for name, hint := range from {
		if _, known := into[name]; !known {
			into[name] = hint
		}
	}
	return into
}
