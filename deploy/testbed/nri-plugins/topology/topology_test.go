package topology

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const (
	card   = "sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0"
	bridge = "sys/devices/pci0000:00/0000:00:1d.0"
)

// makeHost makes a host with two NUMA nodes, a network card, disks on both nodes, and what stands on them.
func makeHost(t *testing.T) {
	t.Helper()
	folder := t.TempDir()
	write := func(path, content string) {
		t.Helper()
		path = filepath.Join(folder, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(path, target string) {
		t.Helper()
		path = filepath.Join(folder, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	write("sys/devices/system/node/node0/cpulist", "0-3\n")
	write("sys/devices/system/node/node1/cpulist", "4-7\n")
	write("sys/devices/system/node/node2/cpulist", "\n")
	write("sys/devices/system/cpu/cpu5/cache/index2/shared_cpu_list", "4-5\n")

	write(card+"/numa_node", "1\n")
	write(card+"/local_cpulist", "4-7\n")
	write(card+"/net/eth0/address", "02:00:00:00:00:01\n")
	link("sys/class/net/eth0", "../../devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/net/eth0")
	link("sys/devices/virtual/net/bond0/lower_eth0", "../../../pci0000:3a/0000:3a:00.0/0000:3b:00.0/net/eth0")

	// A disk behind a controller that knows its node alone, with a partition.
	write(bridge+"/numa_node", "0\n")
	write(bridge+"/nvme/nvme0n1/nvme0n1p1/partition", "1\n")
	link("sys/dev/block/259:1", "../../devices/pci0000:00/0000:00:1d.0/nvme/nvme0n1/nvme0n1p1")
	// A disk on the other node.
	write("sys/devices/pci0000:80/0000:80:01.0/numa_node", "1\n")
	write("sys/devices/pci0000:80/0000:80:01.0/local_cpulist", "4-7\n")
	write("sys/devices/pci0000:80/0000:80:01.0/sdb/size", "1\n")
	// Mirrored, and encrypted on top of that.
	link("sys/devices/virtual/block/md0/slaves/nvme0n1p1",
		"../../../../pci0000:00/0000:00:1d.0/nvme/nvme0n1/nvme0n1p1")
	link("sys/devices/virtual/block/md0/slaves/sdb", "../../../../pci0000:80/0000:80:01.0/sdb")
	link("sys/devices/virtual/block/dm-0/slaves/md0", "../../md0")
	link("sys/dev/block/253:0", "../../devices/virtual/block/dm-0")

	// The kernel does not know the node: every CPU is "local".
	write("sys/devices/pci0000:00/0000:00:02.0/numa_node", "-1\n")
	write("sys/devices/pci0000:00/0000:00:02.0/local_cpulist", "0-7\n")
	write("sys/devices/virtual/mem/null/uevent", "MAJOR=1\n")
	link("sys/dev/char/1:3", "../../devices/virtual/mem/null")

	write("sys/devices/broken/local_cpulist", "0-x\n")
	write("sys/devices/reversed/local_cpulist", "7-4\n")
	write("sys/devices/wordy/numa_node", "first\n")
	// Two that claim to stand on each other.
	link("sys/devices/virtual/block/a/slaves/b", "../../b")
	link("sys/devices/virtual/block/b/slaves/a", "../../a")

	SetSysRoot(folder + "/")
	t.Cleanup(func() { SetSysRoot("") })
}

func TestHintsOfDevices(t *testing.T) {
	makeHost(t)
	first := Hint{Provider: "/" + bridge, CPUs: "0-3", NUMAs: "0"}
	network := Hint{Provider: "/" + card, CPUs: "4-7", NUMAs: "1"}
	second := Hint{Provider: "/sys/devices/pci0000:80/0000:80:01.0", CPUs: "4-7", NUMAs: "1"}
	node := Hint{Provider: "/sys/devices/system/node/node1", CPUs: "4-7", NUMAs: "1"}
	memory := Hint{Provider: "/sys/devices/system/node/node2", NUMAs: "2"}
	cache := Hint{Provider: "/sys/devices/system/cpu/cpu5/cache/index2", CPUs: "4-5"}
	for path, want := range map[string][]Hint{
		"/" + card:                                  {network},
		"/sys/class/net/eth0":                       {network},
		"/sys/devices/virtual/net/bond0":            {network},
		"/" + bridge + "/nvme/nvme0n1/nvme0n1p1":    {first},
		"/sys/devices/virtual/block/md0":            {first, second},
		"/sys/devices/virtual/block/dm-0":           {first, second},
		"/sys/devices/pci0000:00/0000:00:02.0":      {},
		"/sys/devices/virtual/mem/null":             {},
		"/sys/devices/system/node/node1":            {node},
		"/sys/devices/system/node/node2":            {memory},
		"/sys/devices/system/cpu/cpu5/cache/index2": {cache},
	} {
		got, err := NewTopologyHints(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		expected := Hints{}
		for _, hint := range want {
			expected[hint.Provider] = hint
		}
		if !reflect.DeepEqual(got, expected) {
			t.Errorf("%s: got %v, want %v", path, got, expected)
		}
	}
}

func TestHintsAreRefused(t *testing.T) {
	makeHost(t)
	for path, reason := range map[string]string{
		"/sys/class/net/eth1":          "no device",
		"/sys/class/net":               "no device below /sys/devices",
		"/sys/devices/broken":          `"0-x"`,
		"/sys/devices/reversed":        `"7-4"`,
		"/sys/devices/wordy":           `"first"`,
		"/sys/devices/virtual/block/a": "on each other",
	} {
		got, err := NewTopologyHints(path)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v and error %v, want one with %q", path, got, err, reason)
		}
	}
}

func TestDevicesByNumber(t *testing.T) {
	makeHost(t)
	for _, c := range []struct {
		kind         string
		major, minor int64
		want         string
	}{
		{"b", 253, 0, "/sys/devices/virtual/block/dm-0"},
		{"block", 259, 1, "/" + bridge + "/nvme/nvme0n1/nvme0n1p1"},
		{"c", 1, 3, "/sys/devices/virtual/mem/null"},
		{"u", 1, 3, "/sys/devices/virtual/mem/null"},
		{"b", 1, 3, ""},
		{"p", 1, 3, ""},
		{"c", -1, 3, ""},
	} {
		got, err := FindGivenSysFsDevice(c.kind, c.major, c.minor)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s %d:%d: got %q and error %v, want %q", c.kind, c.major, c.minor, got, err, c.want)
		}
	}
}

func TestDeviceOfAFile(t *testing.T) {
	makeHost(t)
	// /dev/null of the machine is 1:3 everywhere, reached as a host's file behind a link that starts at the host's root.
	if err := os.Symlink("/dev", filepath.Join(root, "devices")); err != nil {
		t.Fatal(err)
	}
	if got, err := FindSysFsDevice("/devices/null"); err == nil {
		t.Errorf("a host without /dev has a device: %s", got)
	}
	if err := os.MkdirAll(filepath.Join(root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "dev/null"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	// A plain file: the device of its file system, which the made-up sysfs does not have.
	if got, err := FindSysFsDevice("/devices/null"); err == nil || !strings.Contains(err.Error(), "/sys/dev/block/") {
		t.Errorf("got %q and error %v, want one about the file system's device", got, err)
	}
	SetSysRoot("")
	got, err := FindSysFsDevice("/dev/null")
	if err != nil || got != "/sys/devices/virtual/mem/null" {
		t.Errorf("/dev/null of this machine: got %q and error %v", got, err)
	}
}

func TestDeviceNumbers(t *testing.T) {
	// 3:70000: the minor number is split around the major one.
	const number = 0x1110_0370
	if major(number) != 3 || minor(number) != 0x11170 {
		t.Errorf("got %d:%d", major(number), minor(number))
	}
	if major(0x10300) != 0x103 || minor(0x10301) != 1 {
		t.Errorf("got %d:%d", major(0x10300), minor(0x10301))
	}
}

func TestMergeKeepsWhatIsThere(t *testing.T) {
	into := Hints{"a": {Provider: "a", CPUs: "0"}}
	merged := MergeTopologyHints(into, Hints{"a": {Provider: "a", CPUs: "1"}, "b": {NUMAs: "1"}})
	if want := (Hints{"a": {Provider: "a", CPUs: "0"}, "b": {NUMAs: "1"}}); !reflect.DeepEqual(merged, want) {
		t.Errorf("got %v, want %v", merged, want)
	}
	if merged = MergeTopologyHints(nil, nil); merged == nil || len(merged) != 0 {
		t.Errorf("got %v, want empty hints", merged)
	}
}

func TestPartialHintsAreResolved(t *testing.T) {
	hints := Hints{"a": {NUMAs: "1"}, "b": {NUMAs: "0", CPUs: "2"}, "c": {Sockets: "1"}}
	hints.ResolvePartialHints(func(numas string) string { return "cpus of " + numas })
	want := Hints{"a": {NUMAs: "1", CPUs: "cpus of 1"}, "b": {NUMAs: "0", CPUs: "2"}, "c": {Sockets: "1"}}
	if !reflect.DeepEqual(hints, want) {
		t.Errorf("got %v, want %v", hints, want)
	}
	Hints(nil).ResolvePartialHints(nil)
}

func TestHintsForPeople(t *testing.T) {
	if got := (Hint{Provider: "/x", CPUs: "0-3", NUMAs: "0"}).String(); got != `CPUs 0-3, NUMA nodes 0 from "/x"` {
		t.Error(got)
	}
	if got := (Hint{}).String(); got != `nothing from ""` {
		t.Error(got)
	}
}
