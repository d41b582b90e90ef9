//! The file `cache` in the state directory of a policy of nri-plugins v0.14.0 (pkg/resmgr/cache/cache.go: `snapshot`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::limits;

/// What a policy has written down of containers, by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books(pub BTreeMap<String, Entry>);

/// What it has written down of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// CPUs as the kernel lists them (`0-3,8`); empty where the policy has no opinion.
    pub cpus: String,
    /// Memory nodes, likewise.
    pub mems: String,
    /// Where its control group is, as the runtime was given it (`linux.cgroupsPath` of its specification).
    pub cgroups_path: String,
}

/// Why books cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// No JSON of this form.
    #[error("the books of the policy cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// More than is checked.
    #[error("the books of the policy have {0} containers, at most {max} are read", max = limits::CONTAINERS)]
    TooMany(usize),
}

impl Books {
    /// Reads the file's text, which is at most [`limits::BOOKS_BYTES`] long.
    ///
    /// # Errors
    /// [`BooksError`]
    pub fn read(text: &[u8]) -> Result<Self, BooksError> {
        let snapshot: Snapshot = serde_json::from_slice(text).map_err(BooksError::Unreadable)?;
        let containers = snapshot.containers.unwrap_or_default();
        if containers.len() > limits::CONTAINERS {
            return Err(BooksError::TooMany(containers.len()));
        }
        Ok(Self(containers.into_iter().map(|(id, container)| (id, container.into())).collect()))
    }
}

/// Whether books that were saved at this time (seconds since 1970) may still lack the places of containers. A policy writes them at Synchronize, which comes
/// right after its registration, *before* all containers have their places; after that only when a pod or a container comes or goes. So those that were
/// saved within the time that Synchronize may take count as such.
#[must_use]
pub fn books_lag(saved_at: u64, registered_at: u64, request_timeout_seconds: u64) -> bool {
    // Times of files are cut to whole seconds.
    saved_at <= registered_at.saturating_add(request_timeout_seconds).saturating_add(1)
}

impl From<Container> for Entry {
    fn from(container: Container) -> Self {
        let linux = container.ctr.and_then(|ctr| ctr.linux).unwrap_or_default();
        let cpu = linux.resources.and_then(|resources| resources.cpu).unwrap_or_default();
        Self { cpus: cpu.cpus, mems: cpu.mems, cgroups_path: linux.cgroups_path }
    }
}

#[derive(Deserialize)]
struct Snapshot {
    #[serde(rename = "Containers")]
    containers: Option<BTreeMap<String, Container>>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(rename = "Ctr")]
    ctr: Option<Ctr>,
}

#[derive(Deserialize)]
struct Ctr {
    linux: Option<Linux>,
}

#[derive(Default, Deserialize)]
struct Linux {
    resources: Option<Resources>,
    #[serde(default)]
    cgroups_path: String,
}

#[derive(Deserialize)]
struct Resources {
    cpu: Option<Cpu>,
}

#[derive(Default, Deserialize)]
struct Cpu {
    #[serde(default)]
    cpus: String,
    #[serde(default)]
    mems: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn books_are_read_whatever_else_is_in_them() {
        let text = br#"{"Version":"1","Pods":{"p":{}},"NextID":3,"PolicyName":"balloons","PolicyJSON":{"a":"{}"},"Containers":{
            "a":{"Ctr":{"id":"a","linux":{"resources":{"memory":{},"cpu":{"shares":{"value":102},"cpus":"0-1,4","mems":"0"}},
                "cgroups_path":"kubepods-x.slice:cri-containerd:a"}},"Requirements":{"requests":{"cpu":"100m"}}},
            "b":{"Ctr":{"linux":{"resources":{}}}},
            "c":{"Ctr":null}}}"#;
        let books = Books::read(text).unwrap();
        let entry = |cpus: &str, mems: &str, path: &str| Entry {
            cpus: cpus.into(),
            mems: mems.into(),
            cgroups_path: path.into(),
        };
        assert_eq!(books.0["a"], entry("0-1,4", "0", "kubepods-x.slice:cri-containerd:a"));
        assert_eq!((&books.0["b"], &books.0["c"]), (&Entry::default(), &Entry::default()));
        assert_eq!(Books::read(b"{}").unwrap(), Books::default());
        assert_eq!(Books::read(br#"{"Containers":null}"#).unwrap(), Books::default());
    }

    #[test]
    fn what_is_no_book_is_an_error_and_so_is_one_of_too_many_containers() {
        for text in ["", "[]", "{\"Containers\":[]}", "{\"Containers\":{\"a\":{\"Ctr\":{\"linux\":7}}}}"] {
            assert!(matches!(Books::read(text.as_bytes()), Err(BooksError::Unreadable(_))), "{text}");
        }
        let many: Vec<String> = (0..=limits::CONTAINERS).map(|number| format!("\"{number}\":{{}}")).collect();
        let text = format!("{{\"Containers\":{{{}}}}}", many.join(","));
        let error = Books::read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "the books of the policy have 4097 containers, at most 4096 are read");
    }

    #[test]
    fn books_of_the_begin_lag_and_later_ones_do_not() {
        for (saved_at, lag) in [(0, true), (100, true), (103, true), (104, false), (u64::MAX, false)] {
            assert_eq!(books_lag(saved_at, 100, 2), lag, "{saved_at}");
        }
    }

    proptest! {
        #[test]
        fn a_text_of_anything_is_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(Books::read(&text));
        }
    }
}
