//! A made-up machine: the part of sysfs that resource policies read, for `--host-root`, so that what they decide does not
//! depend on where a test runs.

use std::fs;
use std::io;
use std::path::Path;

/// A machine of equal NUMA nodes, one in each package, without hyper-threading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// NUMA nodes.
    pub nodes: usize,
    /// CPUs of each; node 0 has the first ones.
    pub cpus_per_node: usize,
    /// Memory of each, in KiB.
    pub memory_per_node: usize,
}

impl Default for Machine {
    /// 8 CPUs on 2 nodes of 16 GiB.
    fn default() -> Self {
        Self { nodes: 2, cpus_per_node: 4, memory_per_node: 16 << 20 }
    }
}

impl Machine {
    /// Writes it below `root`, which a policy takes as `--host-root`.
    ///
    /// The files are those that nri-plugins v0.14.0 reads (pkg/sysfs/system.go).
    pub fn write(&self, root: &Path) -> io::Result<()> {
        let system = root.join("sys/devices/system");
        let (cpus, nodes) = (self.nodes * self.cpus_per_node, self.nodes);
        let file = |path: String, content: String| {
            let path = system.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&system))?;
            fs::write(path, format!("{content}\n"))
        };
        for name in ["possible", "present", "online"] {
            file(format!("cpu/{name}"), list(0, cpus))?;
        }
        // Read for claims on interrupts (pkg/irq), also where nothing is claimed. This machine has none.
        let columns: Vec<String> = (0..cpus).map(|cpu| format!("  CPU{cpu}")).collect();
        file("../../../proc/interrupts".to_owned(), columns.concat())?;
        file("cpu/isolated".to_owned(), String::new())?;
        for cpu in 0..cpus {
            let node = cpu / self.cpus_per_node;
            for (name, value) in [("physical_package_id", node), ("die_id", 0), ("cluster_id", node), ("core_id", cpu)]
            {
                file(format!("cpu/cpu{cpu}/topology/{name}"), value.to_string())?;
            }
            for name in ["core_cpus_list", "thread_siblings_list"] {
                file(format!("cpu/cpu{cpu}/topology/{name}"), cpu.to_string())?;
            }
            // Level 2 is not optional: balloons hangs its tree of CPUs on these caches (cmd/plugins/balloons/policy/cputree.go), and has
            // no CPU at all where there is none.
            let (own, shared) = (cpu.to_string(), list(node * self.cpus_per_node, self.cpus_per_node));
            for (index, level, size, id, cpus) in
                [("index0", "2", "1024K", cpu, own.as_str()), ("index1", "3", "16384K", node, shared.as_str())]
            {
                let id = id.to_string();
                for (name, value) in [
                    ("level", level),
                    ("type", "Unified"),
                    ("size", size),
                    ("id", id.as_str()),
                    ("shared_cpu_list", cpus),
                ] {
                    file(format!("cpu/cpu{cpu}/cache/{index}/{name}"), value.to_owned())?;
                }
            }
            std::os::unix::fs::symlink(
                format!("../../node/node{node}"),
                system.join(format!("cpu/cpu{cpu}/node{node}")),
            )?;
        }
        for name in ["possible", "online", "has_cpu", "has_memory", "has_normal_memory"] {
            file(format!("node/{name}"), list(0, nodes))?;
        }
        for node in 0..nodes {
            file(format!("node/node{node}/cpulist"), list(node * self.cpus_per_node, self.cpus_per_node))?;
            let distances: Vec<_> = (0..nodes).map(|other| if other == node { "10" } else { "21" }).collect();
            file(format!("node/node{node}/distance"), distances.join(" "))?;
            let memory = self.memory_per_node;
            file(
                format!("node/node{node}/meminfo"),
                format!("Node {node} MemTotal: {memory} kB\nNode {node} MemFree: {memory} kB"),
            )?;
        }
        Ok(())
    }
}

/// The kernel's list of `count` numbers from `first` on.
fn list(first: usize, count: usize) -> String {
    match count {
        0 => String::new(),
        1 => first.to_string(),
        _ => format!("{first}-{}", first + count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_as_the_kernel_would_show_it() {
        let root = tempfile::tempdir().unwrap();
        Machine::default().write(root.path()).unwrap();
        let read = |path: &str| fs::read_to_string(root.path().join("sys/devices/system").join(path)).unwrap();
        assert_eq!(read("cpu/online"), "0-7\n");
        assert_eq!(read("node/node1/cpulist"), "4-7\n");
        assert_eq!(read("node/node1/distance"), "21 10\n");
        assert_eq!(read("cpu/cpu5/node1/cpulist"), "4-7\n", "through the link");
        assert_eq!(read("cpu/cpu5/topology/physical_package_id"), "1\n");
        assert_eq!(read("cpu/cpu5/cache/index0/shared_cpu_list"), "5\n");
        assert_eq!(read("cpu/cpu5/cache/index1/shared_cpu_list"), "4-7\n");
        assert_eq!(list(3, 1), "3");
    }
}
