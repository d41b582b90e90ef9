//! What is the same in each run of what a command prints.

/// Characters of a pod's name after its DaemonSet's.
const SUFFIX: usize = 5;
/// Shortest hash, as the extension shows them.
const HASH: usize = 8;

/// The text with placeholders for what differs from run to run and from machine to machine: times, durations, names that a cluster makes, hashes and
/// identifiers, versions and addresses, which CPUs there are; and each run of blanks, which align columns, as one.
pub(super) fn normal(text: &str) -> String {
    let lines: Vec<String> = text.trim_end().lines().map(line).collect();
    lines.join("\n")
}

fn line(text: &str) -> String {
    let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if ["_allowed_list:", "cpuset ", "resourceVersion:"].iter().any(|what| squeezed.contains(what)) {
        return numbers(&squeezed);
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '_' | '+' | '~' | '-');
    let mut out = String::with_capacity(squeezed.len());
    let mut rest = squeezed.as_str();
    while let Some(begin) = rest.find(is_word) {
        let end = rest[begin..].find(|c| !is_word(c)).map_or(rest.len(), |length| begin + length);
        out += &rest[..begin];
        out += &word(&rest[begin..end]);
        rest = &rest[end..];
    }
    out + rest
}

/// One word, whose ends may be the sentence's.
fn word(text: &str) -> String {
    let rest = text.trim_start_matches(['.', ':', '-']);
    let begin = &text[..text.len() - rest.len()];
    let body = rest.trim_end_matches(['.', ':', '-']);
    let end = &rest[body.len()..];
    let agent = body.strip_prefix("cri-resmgr-node-agent-");
    let placeholder = if is_time(body) {
        "<time>"
    } else if is_identifier(body) {
        "<id>"
    } else if agent.is_some_and(|suffix| suffix.len() == SUFFIX && suffix.chars().all(|c| c.is_ascii_alphanumeric())) {
        "<agent's pod>"
    } else if is_version(body) {
        "<version>"
    } else if body.len() >= HASH && body.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
        "<hash>"
    } else if is_duration(body) {
        "<duration>"
    } else {
        body
    };
    format!("{begin}{placeholder}{end}")
}

/// `2026-12-01T06:00:00Z`, also with parts of a second.
fn is_time(text: &str) -> bool {
    let Some((date, time)) = text.strip_suffix('Z').and_then(|text| text.split_once('T')) else { return false };
    let digits = |text: &str, mark: char| {
        text.split(mark).all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    let time = time.split_once('.').map_or(time, |(time, _)| time);
    date.len() == 10 && digits(date, '-') && time.len() == 8 && digits(time, ':')
}

/// As objects and calls have them: five groups of digits and letters up to f.
fn is_identifier(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.concat().chars().all(|c| c.is_ascii_hexdigit())
}

/// Three numbers and what follows; addresses, too.
fn is_version(text: &str) -> bool {
    let mut parts = text.strip_prefix('v').unwrap_or(text).splitn(3, '.');
    let is_number =
        |part: Option<&str>| part.is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    is_number(parts.next())
        && is_number(parts.next())
        && parts.next().is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// `11s`, `2m5s`, `3d4h`; 750m, a quantity, as well.
fn is_duration(text: &str) -> bool {
    let (mut digits, mut units) = (false, 0);
    for c in text.chars() {
        match c {
            '0'..='9' => digits = true,
            '.' if digits => {}
            's' | 'm' | 'h' | 'd' if digits => {
                digits = false;
                units += 1;
            }
            _ => return false,
        }
    }
    units > 0 && !digits
}

/// Each number as `#`: one CPU stays one, and a range a range.
fn numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_of_a_command_have_one_normal_form() {
        let table = [
            (
                "NODE       STAGE       SINCE\nworker-1   Installed   9s\n\n1 node: 1 as desired (desired state 187310ac)\n",
                "NODE       STAGE       SINCE\nworker-1   Installed   2m11s\n\n1 node: 1 as desired (desired state 0a7310ac)",
            ),
            ("cri-resmgr-node-agent-x7k2p   1/1   10.250.3.7", "cri-resmgr-node-agent-aaaaa 1/1 10.250.11.70"),
            ("  renewTime: \"2026-12-01T18:00:00.123456Z\"", "  renewTime: \"2026-12-02T00:00:01.000000Z\""),
            ("  uid: 5a0d1dcd-4f6e-4c0c-8a3e-0123456789ab", "  uid: 00000000-0000-4000-8000-000000000000"),
            ("containerd answers (containerd 1.6.20~ds1).", "containerd answers (containerd 1.7.1)."),
            ("Cpus_allowed_list:\t1", "Cpus_allowed_list:\t13"),
            ("  resourceVersion: \"842\"", "  resourceVersion: \"1857\""),
            ("cpuset 0-1 does not have 640 CPUs", "cpuset 0-15 does not have 640 CPUs"),
            ("next attempt at 2026-12-01T18:00:00Z: wait", "next attempt at 2026-12-01T18:30:00Z: wait"),
            ("{\"at\":1764612000}", "{\"at\":1764612999}"),
        ];
        for (one, other) in table {
            assert_eq!(normal(one), normal(other));
        }
    }

    #[test]
    fn what_says_something_else_stays_different() {
        let table = [
            ("worker-1   Installed", "worker-1   RolledBack"),
            ("worker-1", "worker-2"),
            ("Cpus_allowed_list:\t1", "Cpus_allowed_list:\t0-1"),
            ("2 nodes: 1 as desired", "2 nodes: 2 as desired"),
            ("cri-resmgr-node-agent-x7k2p", "other-agent-x7k2p"),
            ("a\nb", "a b"),
            ("in 60s", "in 60"),
            ("1.6", "1.7"),
        ];
        for (one, other) in table {
            assert_ne!(normal(one), normal(other));
        }
    }
}
