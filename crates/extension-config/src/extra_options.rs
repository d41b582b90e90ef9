//! The daemon's further command line options.

/// Options that belong to us: with another value the daemon would not sit where the node agent and the gate look for it.
const OURS: [&str; 9] = [
    "runtime-socket",
    "image-socket",
    "relay-socket",
    "relay-dir",
    "agent-socket",
    "config-socket",
    "fallback-config",
    "force-config",
    "pid-file",
];
/// Options with which the daemon prints something and ends, or drops its state and ends.
const ENDING: [&str; 7] = ["reset-policy", "reset-config", "print-config", "list-policies", "version", "help", "h"];
/// Options without a value.
const SWITCHES: [&str; 9] = [
    "disable-policy-switch",
    "allow-untested-runtimes",
    "disable-ui",
    "add_dir_header",
    "alsologtostderr",
    "logtostderr",
    "one_output",
    "skip_headers",
    "skip_log_headers",
];
/// Options with a Go duration.
const DURATIONS: [&str; 2] = ["metrics-interval", "rebalance-interval"];
/// Options with any other value.
const VALUES: [&str; 15] = [
    "force-config-signal",
    "host-root",
    "external-visualizers",
    "cgroup-mount",
    "cgroup-v2-dir",
    "cgroup-path",
    "kubelet-cgroup-root",
    "bpf-install-path",
    "log_backtrace_at",
    "log_dir",
    "log_file",
    "log_file_max_size",
    "stderrthreshold",
    "v",
    "vmodule",
];

/// Checks the options word by word. Every error names the word and what is allowed.
pub(crate) fn check(text: &str) -> Vec<String> {
    if let Some(bad) = text.chars().find(|c| !is_plain(*c)) {
        // The text stands in an environment file of systemd, which has quoting rules of its own.
        return vec![format!("{bad:?} is not allowed, allowed: letters, digits, blanks and -_=.,:/+@%")];
    }
    let mut problems = Vec::new();
    let mut words = text.split(' ').filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            problems.push(format!("{word:?} is not an option"));
            continue;
        };
        let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        if OURS.contains(&name) {
            problems.push(format!("--{name} is set by the extension"));
        } else if ENDING.contains(&name) {
            problems.push(format!("--{name} makes the daemon end"));
        } else if SWITCHES.contains(&name) {
            if value.is_some_and(|value| !matches!(value, "true" | "false")) {
                problems.push(format!("--{name} takes true or false"));
            }
        } else if DURATIONS.contains(&name) || VALUES.contains(&name) {
            let Some(value) = value.or_else(|| words.next_if(|next| !next.starts_with('-'))) else {
                problems.push(format!("--{name} needs a value"));
                continue;
            };
            if DURATIONS.contains(&name) && !crate::cri_resmgr::is_duration(value) {
                problems.push(format!("--{name}: {value:?} is not a duration, allowed for instance: 10s, 1m30s"));
            }
        } else {
            problems.push(format!(
                "there is no option --{name}, allowed: --{}",
                [&SWITCHES[..], &DURATIONS[..], &VALUES[..]].concat().join(", --")
            ));
        }
        if OURS.contains(&name) && value.is_none() {
            words.next_if(|next| !next.starts_with('-'));
        }
    }
    problems
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || " -_=.,:/+@%".contains(c)
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn good_options() {
        for text in [
            "",
            "  ",
            "--metrics-interval 10s",
            "-metrics-interval=10s --disable-policy-switch",
            "--rebalance-interval 1m30s --allow-untested-runtimes=true",
            "--cgroup-path /sys/fs/cgroup --force-config-signal SIGHUP",
        ] {
            assert_eq!(check(text), Vec::<String>::new(), "{text:?}");
        }
    }

    #[test]
    fn bad_options() {
        for (text, expected) in [
            ("--relay-socket /tmp/x.sock", "--relay-socket is set by the extension"),
            ("-force-config=/x", "--force-config is set by the extension"),
            ("--reset-policy", "--reset-policy makes the daemon end"),
            ("--disable-ui=maybe", "--disable-ui takes true or false"),
            (
                "--metrics-interval disable",
                "--metrics-interval: \"disable\" is not a duration, allowed for instance: 10s, 1m30s",
            ),
            ("--metrics-interval --disable-ui", "--metrics-interval needs a value"),
            ("metrics", "\"metrics\" is not an option"),
            ("--a\nb", "'\\n' is not allowed, allowed: letters, digits, blanks and -_=.,:/+@%"),
            ("--cgroup-path \"/x\"", "'\"' is not allowed, allowed: letters, digits, blanks and -_=.,:/+@%"),
            ("--cgroup-path $HOME", "'$' is not allowed, allowed: letters, digits, blanks and -_=.,:/+@%"),
            (
                "--log x",
                "there is no option --log, allowed: --disable-policy-switch, --allow-untested-runtimes, --disable-ui, \
                 --add_dir_header, --alsologtostderr, --logtostderr, --one_output, --skip_headers, --skip_log_headers, \
                 --metrics-interval, --rebalance-interval, --force-config-signal, --host-root, --external-visualizers, \
                 --cgroup-mount, --cgroup-v2-dir, --cgroup-path, --kubelet-cgroup-root, --bpf-install-path, \
                 --log_backtrace_at, --log_dir, --log_file, --log_file_max_size, --stderrthreshold, --v, --vmodule",
            ),
        ] {
            assert_eq!(check(text).first().map(String::as_str), Some(expected), "{text:?}");
        }
    }
}
