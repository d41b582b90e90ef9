//! kubelet's flags.

use std::ops::Range;

use crate::endpoint::Endpoint;

/// The flag that names the runtime.
pub const ENDPOINT: &str = "container-runtime-endpoint";

/// One occurrence of a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence<'a> {
    /// The words that it takes: one, or two where the value is a word of its own.
    pub words: Range<usize>,
    /// Its value.
    pub value: &'a str,
}

/// Each occurrence of a flag that takes a value, in order, as pflag v1.0.5 reads it with kubelet's normalization: `--name=value` or
/// `--name value`, with `_` for `-` anywhere in the name, up to a word `--`. A single dash is no long flag.
pub fn occurrences<'a, W: AsRef<str>>(words: &'a [W], name: &str) -> Vec<Occurrence<'a>> {
    let mut found = Vec::new();
    let mut position = 0;
    while let Some(word) = words.get(position).map(AsRef::as_ref) {
        if word == "--" {
            break;
        }
        let flag = word.strip_prefix("--").unwrap_or_default();
        let (this, value) = flag.split_once('=').map_or((flag, None), |(this, value)| (this, Some(value)));
        let mut end = position + 1;
        if this.replace('_', "-") == name {
            let value = value.or_else(|| {
                end += 1;
                words.get(position + 1).map(AsRef::as_ref)
            });
            found.extend(value.map(|value| Occurrence { words: position..end, value }));
        }
        position = end;
    }
    found
}

/// The value that counts: the last one.
pub fn last<'a, W: AsRef<str>>(words: &'a [W], name: &str) -> Option<&'a str> {
    occurrences(words, name).last().map(|found| found.value)
}

/// The runtime that these words alone end up with.
pub fn effective_endpoint<W: AsRef<str>>(words: &[W]) -> Endpoint {
    last(words, ENDPOINT).map_or(Endpoint::Containerd, Endpoint::of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::of_process;

    #[test]
    fn the_last_flag_counts_in_every_form() {
        let words = ["k", "--config=/a", "--config-dir=/x", "--config", "/b", "-config=/c", "--", "--config=/d"];
        assert_eq!(last(&words, "config"), Some("/b"));
        assert_eq!(last(&words, "config-dir"), Some("/x"));
        assert_eq!(last(&words, "v"), None);
        assert_eq!(last(&["--cpu_manager-policy=static"], "cpu-manager-policy"), Some("static"));
        assert_eq!(last(&["--cpu_manager_policy", "static"], "cpu-manager-policy"), Some("static"));
        assert_eq!(last(&["--config"], "config"), None);
    }

    #[test]
    fn the_last_endpoint_counts() {
        for (line, endpoint) in [
            ("kubelet", Endpoint::Containerd),
            ("kubelet --container-runtime-endpoint=unix:///run/containerd/containerd.sock", Endpoint::Containerd),
            (
                "kubelet --container-runtime-endpoint=unix:///run/containerd/containerd.sock --v=2 \
                 --container-runtime-endpoint=unix:///run/cri-resmgr/cri-resmgr.sock",
                Endpoint::Proxy,
            ),
            (
                "kubelet --container-runtime-endpoint=unix:///run/cri-resmgr/cri-resmgr.sock \
                 --container-runtime-endpoint /run/containerd/containerd.sock",
                Endpoint::Containerd,
            ),
            ("kubelet \"--container-runtime-endpoint=unix:///var/run/cri-resmgr/cri-resmgr.sock\"", Endpoint::Proxy),
            ("kubelet --container_runtime_endpoint=unix:///run/crio/crio.sock", Endpoint::Foreign),
            ("kubelet --container-runtime-endpoint=unix:///run/other.sock", Endpoint::Foreign),
            ("kubelet --container-runtime-endpoint-x=unix:///run/other.sock", Endpoint::Containerd),
            ("kubelet --container-runtime-endpoint", Endpoint::Containerd),
        ] {
            assert_eq!(effective_endpoint(&of_process(line)), endpoint, "{line}");
        }
    }
}
