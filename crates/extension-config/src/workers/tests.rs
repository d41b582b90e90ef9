use super::*;

fn cpu(policy: &str, of_pool: bool) -> CpuManager {
    CpuManager { policy: policy.to_owned(), of_pool }
}

fn pool(name: &str) -> WorkerFacts {
    WorkerFacts { name: name.to_owned(), ..WorkerFacts::default() }
}

fn by_name(pools: &[&str]) -> Selection {
    Selection { worker_pools: Some(pools.iter().map(|pool| (*pool).to_owned()).collect()), ..Selection::default() }
}

/// Field case N20: every combination of what rules a pool out and of what does not. Each part that does is named once, with field, value and
/// what is allowed; nothing else is.
#[test]
fn every_combination_of_worker_facts_excludes_what_it_must() {
    const STATIC: &str = "cpuManagerPolicy is \"static\", only \"none\" works";
    let managers = [
        (None, None),
        (Some(cpu("none", true)), None),
        (Some(cpu("", false)), None),
        (Some(cpu("static", true)), Some(format!("the pool's kubernetes.kubelet.{STATIC}"))),
        (Some(cpu("static", false)), Some(format!("the Shoot's kubernetes.kubelet.{STATIC}"))),
        (
            Some(cpu("None", true)),
            Some("the pool's kubernetes.kubelet.cpuManagerPolicy is \"None\", only \"none\" works".into()),
        ),
    ];
    let runtimes = [
        (None, None),
        (Some(String::new()), None),
        (Some("containerd".to_owned()), None),
        (Some("docker".to_owned()), Some("cri.name is \"docker\", only \"containerd\" works")),
    ];
    let machines = [
        (None, None),
        (Some("amd64".to_owned()), None),
        (Some("arm64".to_owned()), Some("machine.architecture is \"arm64\", only \"amd64\" works")),
    ];
    let versions = [
        (None, None),
        (Some((1, 22)), Some("its Kubernetes version is 1.22, only 1.23 and later work")),
        (Some((1, 23)), None),
        (Some((1, 36)), None),
        (Some((0, 99)), Some("its Kubernetes version is 0.99, only 1.23 and later work")),
    ];
    for (cpu_manager, of_manager) in &managers {
        for (cri, of_runtime) in &runtimes {
            for (architecture, of_machine) in &machines {
                for (kubernetes, of_version) in &versions {
                    let worker = WorkerFacts {
                        name: "a".to_owned(),
                        cri: cri.clone(),
                        architecture: architecture.clone(),
                        cpu_manager: cpu_manager.clone(),
                        kubernetes: *kubernetes,
                    };
                    let facts = Facts { workers: vec![worker, pool("b")] };
                    let expected: Vec<&str> =
                        [of_manager.as_deref(), *of_runtime, *of_machine, *of_version].into_iter().flatten().collect();
                    let found = left_alone(&Selection::default(), &facts, BackendName::CriResmgr);
                    assert_eq!(found.len(), usize::from(!expected.is_empty()), "{facts:?}: {found:?}");
                    assert!(!is_nowhere(&Selection::default(), &facts, &found), "b is left");
                    let Some(found) = found.first() else { continue };
                    assert_eq!((found.name.as_str(), found.reasons.len()), ("a", expected.len()), "{found:?}");
                    for (reason, expected) in found.reasons.iter().zip(&expected) {
                        assert!(reason.starts_with(expected), "{reason:?} does not start with {expected:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn only_selected_pools_are_excluded_and_warned_of() {
    let ruled_out =
        |name: &str| WorkerFacts { cpu_manager: Some(cpu("static", true)), kubernetes: Some((1, 34)), ..pool(name) };
    let facts =
        Facts { workers: vec![ruled_out("b"), WorkerFacts { kubernetes: Some((1, 34)), ..pool("a") }, ruled_out("c")] };
    let table: [(Selection, &[&str], bool, &[&str]); 7] = [
        // selection -> (left alone, nothing is left, warnings about)
        (Selection::default(), &["b", "c"], false, &["\"a\" runs"]),
        (by_name(&["a"]), &[], false, &["\"a\" runs"]),
        (by_name(&["a", "b"]), &["b"], false, &["\"a\" runs"]),
        (by_name(&["c", "b"]), &["b", "c"], true, &[]),
        (by_name(&["c", "gone"]), &["c"], true, &["no worker pool \"gone\""]),
        (by_name(&["gone"]), &[], false, &["no worker pool \"gone\""]),
        (by_name(&[]), &[], false, &[]),
    ];
    for (selection, expected, all, about) in table {
        let found = left_alone(&selection, &facts, BackendName::CriResmgr);
        let names: Vec<&str> = found.iter().map(|pool| pool.name.as_str()).collect();
        assert_eq!(names, expected, "{selection:?}");
        assert_eq!(is_nowhere(&selection, &facts, &found), all, "{selection:?}");
        let warnings = warnings(&selection, &facts, BackendName::CriResmgr, true, &found);
        assert_eq!(warnings.len(), about.len(), "{selection:?}: {warnings:?}");
        for (warning, about) in warnings.iter().zip(about) {
            assert!(warning.message.contains(about), "{warning:?}");
        }
    }
}

/// Field case D06: a Shoot without workers, and one that is not known at all.
#[test]
fn a_shoot_without_workers_excludes_no_pool() {
    let facts = Facts::default();
    for selection in [Selection::default(), by_name(&["a"])] {
        let found = left_alone(&selection, &facts, BackendName::CriResmgr);
        assert_eq!((found.len(), is_nowhere(&selection, &facts, &found)), (0, false));
        assert_eq!(warnings(&selection, &facts, BackendName::CriResmgr, true, &found), []);
    }
}

#[test]
fn excluded_pools_are_bounded_in_number_and_length() {
    let docker = |name: String| WorkerFacts { cri: Some("docker".to_owned()), name, ..WorkerFacts::default() };
    let facts = Facts { workers: (0..1000).map(|number| docker(format!("p{number:03}"))).collect() };
    let found = left_alone(&Selection::default(), &facts, BackendName::CriResmgr);
    assert_eq!((found.len(), found[255].name.as_str()), (limits::WORKER_POOLS, "p255"));
    // Those that are not excluded are refused by their own agents, so it may not be said that nothing is left.
    assert!(!is_nowhere(&Selection::default(), &facts, &found));

    let long = WorkerFacts { cri: Some("é".repeat(100_000)), ..pool("a") };
    let reason =
        &left_alone(&Selection::default(), &Facts { workers: vec![long] }, BackendName::CriResmgr)[0].reasons[0];
    assert!(reason.chars().count() < 120, "{reason}");

    // No node can be of such a pool.
    for name in ["", "-", "a b", &"a".repeat(64)] {
        let facts = Facts { workers: vec![docker(name.to_owned())] };
        assert_eq!(left_alone(&Selection::default(), &facts, BackendName::CriResmgr), [], "{name:?}");
    }
    let twice = Facts {
        workers: vec![docker("a".into()), WorkerFacts { architecture: Some("arm64".to_owned()), ..pool("a") }],
    };
    let found = left_alone(&Selection::default(), &twice, BackendName::CriResmgr);
    assert_eq!((found.len(), found[0].reasons.len()), (1, 2));
}

#[test]
fn a_shoot_without_a_backend_is_warned_of_the_successor_where_kubernetes_has_outgrown_cri_resmgr() {
    let facts = |minor| Facts { workers: vec![WorkerFacts { kubernetes: Some((1, minor)), ..pool("a") }, pool("b")] };
    for (minor, backend, is_named, reported) in [
        (29, BackendName::CriResmgr, false, false),
        (30, BackendName::CriResmgr, false, true),
        (37, BackendName::CriResmgr, false, true),
        (37, BackendName::CriResmgr, true, false),
        (37, BackendName::NriPlugins, true, false),
    ] {
        let warnings = warnings(&Selection::default(), &facts(minor), backend, is_named, &[]);
        let of_backend = warnings.iter().filter(|warning| warning.to_string().contains("backend: is not given"));
        assert_eq!(of_backend.count(), usize::from(reported), "1.{minor}, {backend}, {is_named}: {warnings:?}");
    }
}
