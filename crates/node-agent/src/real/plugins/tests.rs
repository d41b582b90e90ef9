//! Below a made-up root, with a containerd that speaks CRI.

use std::fs;

use cri_client::fake::{Behaviour, FakeContainer, FakeRuntime, FakeUpdate};

use super::*;

const READY: Behaviour = Behaviour::Answers { runtime_ready: true };
const SLICE: &str = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice";

struct Host {
    directory: tempfile::TempDir,
    root: HostRoot,
    containerd: FakeRuntime,
    is_unified: bool,
}

impl Host {
    fn new(is_unified: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("run/containerd")).unwrap();
        let containerd = FakeRuntime::serve(&directory.path().join("run/containerd/containerd.sock"), READY).unwrap();
        let root = HostRoot::open(directory.path()).unwrap();
        let host = Self { directory, root, containerd, is_unified };
        if is_unified {
            host.write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu\n");
        }
        host.cgroup("", "0-3", "0-1", None);
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The pod's control group, or one of a container in it.
    fn cgroup(&self, scope: &str, cpus: &str, mems: &str, shares: Option<u64>) {
        let [sets, times] = if self.is_unified { ["", ""] } else { ["/cpuset", "/cpu"] };
        let at = |hierarchy: &str| format!("/sys/fs/cgroup{hierarchy}/{SLICE}{scope}");
        let names = if self.is_unified {
            ["cpuset.cpus.effective", "cpuset.mems.effective"]
        } else {
            ["cpuset.cpus", "cpuset.mems"]
        };
        self.write(&format!("{}/{}", at(sets), names[0]), &format!("{cpus}\n"));
        self.write(&format!("{}/{}", at(sets), names[1]), &format!("{mems}\n"));
        if let Some(shares) = shares {
            let name = if self.is_unified { "cpu.weight" } else { "cpu.shares" };
            self.write(&format!("{}/{name}", at(times)), &format!("{shares}\n"));
        }
    }

    fn containers(&self, all: &[(&str, ContainerState, &str)]) {
        let container = |(id, state, cpus): &(&str, ContainerState, &str)| {
            let path = format!("kubepods-burstable-pod1.slice:cri-containerd:{id}");
            let info = format!(
                r#"{{"config":{{"linux":{{"resources":{{"cpu_shares":102}}}}}},
                    "runtimeSpec":{{"linux":{{"cgroupsPath":"{path}","resources":{{"cpu":{{"cpus":"{cpus}"}}}}}}}}}}"#
            );
            ((*id).to_owned(), FakeContainer { labels: BTreeMap::new(), state: *state, info })
        };
        self.containerd.hold(all.iter().map(container).collect());
    }

    fn books(&self, all: &[(&str, &str)]) {
        let entry = |(id, cpus): &(&str, &str)| {
            let path = format!("kubepods-burstable-pod1.slice:cri-containerd:{id}");
            format!(
                r#""{id}":{{"Ctr":{{"linux":{{"cgroups_path":"{path}","resources":{{"cpu":{{"cpus":"{cpus}"}}}}}}}}}}"#
            )
        };
        let all: Vec<String> = all.iter().map(entry).collect();
        self.write(node::PLUGIN_BOOKS, &format!("{{\"Containers\":{{{}}}}}", all.join(",")));
    }

    fn on_host(&self) -> OnHost<'_> {
        OnHost(&self.root)
    }
}

#[tokio::test]
async fn misses_are_found_by_books_runtime_and_control_groups() {
    for is_unified in [false, true] {
        let host = Host::new(is_unified);
        let running = ContainerState::Running;
        host.containers(&[
            ("a", running, "0"),
            ("b", running, "1"),
            ("c", running, "2"),
            ("gone", ContainerState::Exited, "3"),
        ]);
        for (id, cpus) in [("a", "0"), ("b", "1"), ("c", "2")] {
            host.cgroup(&format!("/cri-containerd-{id}.scope"), cpus, "0", None);
        }
        host.books(&[("a", "0"), ("b", "1"), ("c", "2")]);
        let found = host.on_host().misses(0).await.unwrap();
        assert!(found.is_none() && found.of == 3, "{found}");
        // By hand.
        host.cgroup("/cri-containerd-b.scope", "0-3", "0", None);
        // One that the policy was never notified of.
        host.books(&[("a", "0"), ("b", "1")]);
        let reported = host.on_host().misses(0).await.unwrap().to_string();
        assert_eq!(
            reported,
            "2 of 3 containers are not as the policy has them: // runs on CPUs 0-3, not 1; // is not in the books of the policy"
        );
        // Books of right after the registration say nothing of places; the runtime does.
        host.books(&[("a", "7"), ("b", ""), ("c", "")]);
        let reported = host.on_host().misses(u64::MAX / 2).await.unwrap().to_string();
        assert_eq!(reported, "1 of 3 containers are not as the policy has them: // runs on CPUs 0-3, not 1");
        fs::remove_file(host.directory.path().join(node::PLUGIN_BOOKS.trim_start_matches('/'))).unwrap();
        assert_eq!(host.on_host().misses(0).await.unwrap().misses.len(), 3, "no books, no placement");
    }
}

#[tokio::test]
async fn a_reset_updates_what_is_pinned_and_does_not_claim_what_it_does_not_see() {
    for (is_unified, pinned, asked) in [(false, 2, 102), (true, 1, 4)] {
        let host = Host::new(is_unified);
        host.containers(&[
            ("a", ContainerState::Running, "0"),
            ("b", ContainerState::Created, ""),
            ("gone", ContainerState::Exited, "3"),
        ]);
        host.cgroup("/cri-containerd-a.scope", "0", "0", Some(pinned));
        host.cgroup("/cri-containerd-b.scope", "0-3", "0-1", Some(asked));
        // The runtime takes the update, but nothing comes of it here.
        let error = host.on_host().reset_pins().await.unwrap_err();
        assert!(matches!(error, EffectError::PinsLeft { left: 1 }), "{error}");
        let update = FakeUpdate { id: "a".into(), cpu_shares: 102, cpus: "0-3".into(), mems: "0-1".into() };
        assert_eq!(host.containerd.updates(), [update]);
        host.cgroup("/cri-containerd-a.scope", "0-3", "0-1", Some(asked));
        assert_eq!(host.on_host().reset_pins().await.unwrap(), 0);
        assert_eq!(host.containerd.updates().len(), 1, "nothing to do costs no update");
        // Nobody can say whether this one is pinned.
        host.containers(&[("a", ContainerState::Running, "0"), ("c", ContainerState::Running, "0")]);
        let error = host.on_host().reset_pins().await.unwrap_err();
        assert!(matches!(error, EffectError::PinsUnseen { unseen: 1 }), "{error}");
    }
}

#[tokio::test]
async fn what_containerd_lets_in_and_who_has_registered_are_read_from_the_host() {
    let host = Host::new(true);
    assert_eq!(host.on_host().nri().unwrap(), Nri::default());
    assert_eq!(host.on_host().registration().unwrap(), None);
    host.write("/opt/nri/plugins/10-logger", "");
    fs::create_dir_all(host.directory.path().join("opt/nri/plugins/directory")).unwrap();
    fs::create_dir_all(host.directory.path().join("run/nri")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(host.directory.path().join("run/nri/nri.sock")).unwrap();
    let nri = Nri { socket: true, prelaunched: vec!["10-logger".into()] };
    assert_eq!(host.on_host().nri().unwrap(), nri);
    for (text, pid) in [("17\n", Some(17)), ("", None), ("x\n", None), ("-1\n", None)] {
        host.write(node::PLUGIN_PID_FILE, text);
        assert_eq!(host.on_host().registration().unwrap().map(|found| found.pid), pid, "{text:?}");
    }
    assert!(host.on_host().modified(node::PLUGIN_PID_FILE) > 1_700_000_000);
}
