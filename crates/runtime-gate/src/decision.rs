//! What the gate and the guard decide; no input or output here.

use extension_config::names::node::KUBELET_ENDPOINT_ARGUMENT as ENDPOINT;
use kubelet_config::{Endpoint, Words};

use crate::proxy::Answer;

/// The host's own `KUBELET_EXTRA_ARGS`, as systemd hands it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnArguments {
    Unset,
    Text(String),
    /// Not UTF-8: systemd would refuse it in a file.
    Unreadable,
}

/// What the gate does, and the reason for the journal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Value of `KUBELET_EXTRA_ARGS` to write; `None` = no file, so that the host's own value stays in force, whatever it is.
    pub(crate) value: Option<String>,
    /// Whether kubelet starts on the proxy.
    pub(crate) on_proxy: bool,
    /// Why.
    pub(crate) reason: String,
}

/// The gate's decision: the proxy's endpoint is the last argument if, and only if, the proxy answers and is ready.
pub(crate) fn decide(own: &OwnArguments, proxy: &Answer) -> Decision {
    let own = match own {
        OwnArguments::Unset => "",
        OwnArguments::Text(text) if has_forbidden_control(text) => {
            return onto_containerd("KUBELET_EXTRA_ARGS of this host holds a control character");
        }
        OwnArguments::Text(text) => text,
        OwnArguments::Unreadable => {
            return onto_containerd("KUBELET_EXTRA_ARGS of this host is not UTF-8");
        }
    };
    let words = Words::of(own);
    // In whatever spelling: on a dead proxy kubelet would not start.
    let cleaned = words.without(own, kubelet_config::ENDPOINT, |value| Endpoint::of(value) == Endpoint::Proxy);
    let texts = words.texts();
    let named = kubelet_config::occurrences(&texts, kubelet_config::ENDPOINT);
    let foreign = named.iter().find(|found| Endpoint::of(found.value) == Endpoint::Foreign);
    let refused = match proxy {
        Answer::Ready(_) if foreign.is_some() => {
            let value = foreign.map(|found| found.value).unwrap_or_default();
            format!("KUBELET_EXTRA_ARGS of this host names another container runtime, {value}, which is not bypassed")
        }
        Answer::Ready(_) if texts.contains(&"--") => {
            "KUBELET_EXTRA_ARGS of this host ends kubelet's flags with --, nothing can be appended".to_owned()
        }
        Answer::Ready(_) if words.is_open => {
            "KUBELET_EXTRA_ARGS of this host ends inside a quote, nothing can be appended".to_owned()
        }
        Answer::Ready(runtime) => {
            return Decision {
                value: Some(append(cleaned)),
                on_proxy: true,
                reason: format!("the proxy answers for {runtime}"),
            };
        }
        Answer::NotReady => "the proxy answers, but RuntimeReady is not true".to_owned(),
        Answer::Silent(why) => why.clone(),
    };
    Decision {
        // A stale endpoint in the host's own value must go; else nothing of ours stands in the way of that value.
        value: (cleaned != own).then_some(cleaned),
        on_proxy: false,
        reason: refused,
    }
}

fn onto_containerd(reason: &str) -> Decision {
    Decision { value: None, on_proxy: false, reason: reason.to_owned() }
}

fn append(mut arguments: String) -> String {
    if arguments.trim().is_empty() {
        arguments.clear();
    } else {
        arguments.push(' ');
    }
    arguments.push_str(ENDPOINT);
    arguments
}

/// systemd drops an assignment with any control character but tab and line feed.
fn has_forbidden_control(text: &str) -> bool {
    text.bytes().any(|byte| (byte < b' ' || byte == 0x7f) && !matches!(byte, b'\t' | b'\n'))
}

/// Whether the text of the environment file puts kubelet on the proxy. The endpoint needs no escape in the file's quoting.
pub(crate) fn names_the_proxy(environment_file: &str) -> bool {
    environment_file.contains(ENDPOINT)
}

/// The guard's decision, once the proxy has been silent for the whole time: true = kubelet shall be restarted.
pub(crate) fn shall_fall_back(containerd: &Answer) -> (bool, &'static str) {
    match containerd {
        Answer::Ready(_) | Answer::NotReady => (true, "containerd answers: back to it"),
        Answer::Silent(_) => (false, "containerd does not answer either: nothing is gained"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ready() -> Answer {
        Answer::Ready("containerd 1.7".to_owned())
    }

    fn silent() -> Answer {
        Answer::Silent("no socket".to_owned())
    }

    const FOREIGN: &str = "--container_runtime_endpoint unix:///run/crio/crio.sock";

    fn text(value: &str) -> OwnArguments {
        OwnArguments::Text(value.to_owned())
    }

    #[test]
    fn decide_appends_the_endpoint_only_for_a_ready_proxy() {
        let stale = format!("--a {ENDPOINT} --b");
        let cases: Vec<(OwnArguments, Answer, Option<String>, bool)> = vec![
            (OwnArguments::Unset, ready(), Some(ENDPOINT.to_owned()), true),
            (text(""), ready(), Some(ENDPOINT.to_owned()), true),
            (text("  "), ready(), Some(ENDPOINT.to_owned()), true),
            (text("--v=4"), ready(), Some(format!("--v=4 {ENDPOINT}")), true),
            (text(ENDPOINT), ready(), Some(ENDPOINT.to_owned()), true),
            (text(&stale), ready(), Some(format!("--a --b {ENDPOINT}")), true),
            (text(&stale), silent(), Some("--a --b".to_owned()), false),
            (text(ENDPOINT), silent(), Some(String::new()), false),
            (text("--v=4"), silent(), None, false),
            (text("--v=4"), Answer::NotReady, None, false),
            (OwnArguments::Unset, silent(), None, false),
            (OwnArguments::Unreadable, ready(), None, false),
            (text("--a=\"open"), ready(), None, false),
            (text("--a --"), ready(), None, false),
            (text("--a=\u{1b}"), ready(), None, false),
            (text(FOREIGN), ready(), None, false),
            (text(FOREIGN), silent(), None, false),
            (text(&format!("{FOREIGN} {ENDPOINT}")), ready(), Some(FOREIGN.to_owned()), false),
        ];
        for (own, proxy, value, on_proxy) in cases {
            let decision = decide(&own, &proxy);
            assert_eq!(decision.value, value, "{own:?} {proxy:?}");
            assert_eq!(decision.on_proxy, on_proxy, "{own:?} {proxy:?}");
        }
    }

    /// Field case N08: whatever names our socket goes when the proxy is dead.
    #[test]
    fn a_stale_endpoint_is_removed_in_every_spelling() {
        for stale in [
            "--container-runtime-endpoint=/var/run/cri-resmgr/cri-resmgr.sock",
            "--container-runtime-endpoint=unix:///var/run/cri-resmgr/cri-resmgr.sock",
            "--container-runtime-endpoint unix:///run/cri-resmgr/cri-resmgr.sock",
            "--container_runtime_endpoint=unix:/run/cri-resmgr/cri-resmgr.sock",
            "\"--container-runtime-endpoint=unix:///run/cri-resmgr/cri-resmgr.sock\"",
        ] {
            for (own, rest) in
                [(stale.to_owned(), ""), (format!("--v=4 {stale}"), "--v=4"), (format!("{stale} --v=4"), "--v=4")]
            {
                let decision = decide(&text(&own), &silent());
                assert_eq!(decision.value.as_deref(), Some(rest), "{own}");
                let expected = if rest.is_empty() { ENDPOINT.to_owned() } else { format!("{rest} {ENDPOINT}") };
                assert_eq!(decide(&text(&own), &ready()).value, Some(expected), "{own}");
            }
        }
    }

    #[test]
    fn the_guard_acts_only_when_containerd_answers() {
        assert!(shall_fall_back(&ready()).0);
        assert!(shall_fall_back(&Answer::NotReady).0);
        assert!(!shall_fall_back(&silent()).0);
    }

    proptest! {
        #[test]
        fn the_endpoint_stands_in_the_arguments_exactly_when_the_proxy_is_ready(own in r#"[ a-z="'\\$%-]{0,40}"#, is_ready: bool, with_stale: bool) {
            let own = if with_stale { format!("{own} {ENDPOINT}") } else { own };
            let answer = if is_ready { ready() } else { silent() };
            let decision = decide(&text(&own), &answer);
            let effective = decision.value.unwrap_or_else(|| own.clone());
            let words = Words::of(&effective);
            let named = kubelet_config::occurrences(&words.texts(), kubelet_config::ENDPOINT).len();
            prop_assert_eq!(named, usize::from(decision.on_proxy));
            if decision.on_proxy {
                prop_assert_eq!(words.texts().last().copied(), Some(ENDPOINT));
            }
            // All other arguments stay, in order.
            let others = |all: &Words| -> Vec<String> {
                all.texts().into_iter().filter(|word| *word != ENDPOINT).map(str::to_owned).collect()
            };
            prop_assert_eq!(others(&words), others(&Words::of(&own)));
        }
    }
}
