// Package topology tells which CPUs and NUMA nodes a device is close to. It is our own in place of nri-plugins' nested
// module of the same path, which the Go module proxy serves at no version, and has all that the resource policies of
// v0.14.0 use of it.
package topology

import (
	"fmt"
	"strings"
)

// Hint is what one device is close to. Each list is empty where nothing is known.
type Hint struct {
	// Provider is the sysfs path of the device that the hint comes from.
	Provider string
	// CPUs in the kernel's list syntax, "0-3,8-11".
	CPUs string
	// NUMAs are numbers of NUMA nodes with commas between them; the policies take no ranges here.
	NUMAs string
	// Sockets are numbers of CPU packages with commas between them; a pod's other sources of hints fill them.
	Sockets string
}

// Hints are hints by what gave them.
type Hints map[string]Hint

// String is for the policies' logs.
func (h Hint) String() string {
	said := make([]string, 0, 3)
	for _, part := range []struct{ name, list string }{
		{"CPUs", h.CPUs}, {"NUMA nodes", h.NUMAs}, {"sockets", h.Sockets},
	} {
		if part.list != "" {
			said = append(said, part.name+" "+part.list)
		}
	}
	if len(said) == 0 {
		said = append(said, "nothing")
	}
	return fmt.Sprintf("%s from %q", strings.Join(said, ", "), h.Provider)
}

// ResolvePartialHints completes the hints that name NUMA nodes and no CPUs by what cpusOf says of those nodes.
func (hints Hints) ResolvePartialHints(cpusOf func(numas string) string) {
	for key, hint := range hints {
		if hint.CPUs == "" && hint.NUMAs != "" {
			hint.CPUs = cpusOf(hint.NUMAs)
			hints[key] = hint
		}
	}
}

// MergeTopologyHints adds the hints of from whose source into does not have yet, and returns into, made if it was nil.
func MergeTopologyHints(into, from Hints) Hints {
	if into == nil {
		into = make(Hints, len(from))
	}
	for key, hint := range from {
		if _, known := into[key]; !known {
			into[key] = hint
		}
	}
	return into
}

// Logger is what of a policy's logger is used.
type Logger interface {
	Debugf(format string, args ...any)
}

type silent struct{}

func (silent) Debugf(string, ...any) {}

var (
	log Logger = silent{}
	// Before every path of the host: "/host" where the host's file system is mounted there.
	root string
)

// SetLogger sets what tells the hints that were found. It is for the start, before anything else is called.
func SetLogger(logger Logger) {
	log = logger
}

// SetSysRoot sets the folder in which the host's files are, sysfs at its sys/; "" is this machine's own. It is for the
// start, before anything else is called.
func SetSysRoot(path string) {
	root = strings.TrimSuffix(path, "/")
}
