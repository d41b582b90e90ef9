package topology

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// maxStacked bounds how deep devices may stand on each other (a volume on RAID on encryption on disks is four).
const maxStacked = 16

// maxLinks bounds the symbolic links in one path, as the kernel does.
const maxLinks = 40

// FindSysFsDevice gives the sysfs path ("/sys/devices/…") of the device at path; for another kind of file, of the block
// device that its file system is on. A file system on no device (tmpfs, overlayfs) is an error.
func FindSysFsDevice(path string) (string, error) {
	where, err := inRoot(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(where)
	if err != nil {
		return "", fmt.Errorf("cannot find the device of %s: %w", path, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("cannot find the device of %s: no numbers known", path)
	}
	switch mode := info.Mode(); {
	case mode&fs.ModeCharDevice != 0:
		return deviceLink("char", major(stat.Rdev), minor(stat.Rdev))
	case mode&fs.ModeDevice != 0:
		return deviceLink("block", major(stat.Rdev), minor(stat.Rdev))
	default:
		return deviceLink("block", major(stat.Dev), minor(stat.Dev))
	}
}

// FindGivenSysFsDevice gives the sysfs path of the device of a type as the OCI runtime specification has it: "b" is a
// block device, "c" and "u" are character devices.
func FindGivenSysFsDevice(devType string, major, minor int64) (string, error) {
	if major < 0 || minor < 0 {
		return "", fmt.Errorf("device %s %d:%d: numbers must not be negative", devType, major, minor)
	}
	switch devType {
	case "b", "block":
		return deviceLink("block", uint64(major), uint64(minor))
	case "c", "u", "char":
		return deviceLink("char", uint64(major), uint64(minor))
	default:
		return "", fmt.Errorf("device type %q: want b, c or u", devType)
	}
}

// NewTopologyHints tells what the device at a path of sysfs ("/sys/devices/…", or a link such as "/sys/class/net/eth0")
// is close to: what the device or the nearest of its parents says; where none does, what those devices say that it
// stands on (a volume's disks, a bond's cards). Without any of that there are no hints, which is no error.
func NewTopologyHints(devPath string) (Hints, error) {
	where, err := filepath.EvalSymlinks(root + devPath)
	if err != nil {
		return nil, fmt.Errorf("no device %s: %w", devPath, err)
	}
	if !isDevice(where) {
		return nil, fmt.Errorf("%s is %s, which is no device below /sys/devices", devPath, host(where))
	}
	hints, err := collect(where, 0)
	if err != nil {
		return nil, err
	}
	log.Debugf("%s is close to %v", devPath, hints)
	return hints, nil
}

func collect(device string, stacked int) (Hints, error) {
	if stacked > maxStacked {
		return nil, fmt.Errorf("%s: more than %d devices on each other", host(device), maxStacked)
	}
	for dir := device; isDevice(dir); dir = filepath.Dir(dir) {
		hint, err := read(dir)
		if err != nil {
			return nil, err
		}
		if hint != nil {
			return Hints{hint.Provider: *hint}, nil
		}
		below, err := lowerDevices(dir)
		if err != nil {
			return nil, err
		}
		if len(below) == 0 {
			continue
		}
		hints := Hints{}
		for _, lower := range below {
			found, err := collect(lower, stacked+1)
			if err != nil {
				return nil, err
			}
			hints = MergeTopologyHints(hints, found)
		}
		return hints, nil
	}
	return Hints{}, nil
}

// read gives what the one folder says, nil where that is nothing.
func read(dir string) (*Hint, error) {
	hint := Hint{Provider: host(dir)}
	numa, err := number(filepath.Join(dir, "numa_node"))
	if err != nil {
		return nil, err
	}
	if numa == nil {
		numa = nodeFolder(dir)
	}
	// -1: the kernel does not know. Its local_cpulist is then every CPU, which is no preference; a parent may know more.
	if numa != nil && *numa < 0 {
		return nil, nil
	}
	// Of devices, of caches (cpuN/cache/indexN), and of NUMA nodes.
	for _, name := range []string{"local_cpulist", "shared_cpu_list", "cpulist"} {
		if hint.CPUs, err = cpuList(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
		if hint.CPUs != "" {
			break
		}
	}
	if numa != nil {
		hint.NUMAs = strconv.Itoa(*numa)
		if hint.CPUs == "" {
			node := fmt.Sprintf("%s/sys/devices/system/node/node%d/cpulist", root, *numa)
			if hint.CPUs, err = cpuList(node); err != nil {
				return nil, err
			}
		}
	}
	if hint.CPUs == "" && hint.NUMAs == "" {
		return nil, nil
	}
	return &hint, nil
}

// nodeFolder gives the number of the NUMA node whose own folder dir is.
func nodeFolder(dir string) *int {
	parent, name := filepath.Split(dir)
	rest, isNode := strings.CutPrefix(name, "node")
	if !isNode || host(filepath.Clean(parent)) != "/sys/devices/system/node" {
		return nil
	}
	if id, err := strconv.Atoi(rest); err == nil {
		return &id
	}
	return nil
}

// lowerDevices gives what a block device (slaves/*) or a network interface (lower_*) stands on.
func lowerDevices(dir string) ([]string, error) {
	var found []string
	for _, pattern := range []string{"slaves/*", "lower_*"} {
		links, err := filepath.Glob(filepath.Join(escape(dir), pattern))
		if err != nil {
			return nil, err
		}
		for _, link := range links {
			device, err := filepath.EvalSymlinks(link)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", host(link), err)
			}
			if isDevice(device) && device != dir {
				found = append(found, device)
			}
		}
	}
	return found, nil
}

// escape makes a path stand for itself in a pattern.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

func deviceLink(kind string, major, minor uint64) (string, error) {
	link := fmt.Sprintf("/sys/dev/%s/%d:%d", kind, major, minor)
	where, err := filepath.EvalSymlinks(root + link)
	if err != nil {
		return "", fmt.Errorf("no device %s: %w", link, err)
	}
	if !isDevice(where) {
		return "", fmt.Errorf("%s is %s, which is no device below /sys/devices", link, host(where))
	}
	return host(where), nil
}

// isDevice tells whether a path with the root before it is below /sys/devices.
func isDevice(path string) bool {
	return strings.HasPrefix(path, realRoot()+"/sys/devices/")
}

// host takes the root off a path.
func host(path string) string {
	return strings.TrimPrefix(path, realRoot())
}

// realRoot is the root as resolved paths have it.
func realRoot() string {
	if root == "" {
		return ""
	}
	if resolved, err := filepath.EvalSymlinks(root); err == nil {
		return strings.TrimSuffix(resolved, "/")
	}
	return root
}

// inRoot resolves the links of a host's path as the host would: an absolute one starts at its root, not at ours.
func inRoot(path string) (string, error) {
	if root == "" {
		return path, nil
	}
	done, rest := "/", path
	for links := 0; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		next := filepath.Join(done, name)
		target, err := os.Readlink(root + next)
		if err != nil {
			// No link; whether it is there at all is for the caller.
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: more than %d links", path, maxLinks)
		}
		if filepath.IsAbs(target) {
			done = "/"
		}
		rest = target + "/" + rest
	}
	return root + done, nil
}

// text gives a file's content without space around it, "" where the file is missing.
func text(path string) (string, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", host(path), err)
	}
	return strings.TrimSpace(string(content)), nil
}

func number(path string) (*int, error) {
	said, err := text(path)
	if err != nil || said == "" {
		return nil, err
	}
	value, err := strconv.Atoi(said)
	if err != nil {
		return nil, fmt.Errorf("%s says %q: want a number", host(path), said)
	}
	return &value, nil
}

// cpuList gives a file's list of CPUs after a look at its syntax: the policies end on a bad one.
func cpuList(path string) (string, error) {
	said, err := text(path)
	if err != nil || said == "" {
		return "", err
	}
	for part := range strings.SplitSeq(said, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := strconv.ParseUint(first, 10, 31)
		to := from
		if err == nil && isRange {
			to, err = strconv.ParseUint(last, 10, 31)
		}
		if err != nil || from > to {
			return "", fmt.Errorf("%s says %q: want a list of CPUs such as 0-3,8", host(path), said)
		}
	}
	return said, nil
}

// Of a device number as the kernel gives it to programs (glibc's gnu_dev_major and gnu_dev_minor).
func major(number uint64) uint64 { return (number>>8)&0xfff | (number>>32)&^uint64(0xfff) }
func minor(number uint64) uint64 { return number&0xff | (number>>12)&^uint64(0xff) }
