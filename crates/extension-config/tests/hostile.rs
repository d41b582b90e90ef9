//! What a hostile text costs at most: time, and memory at its peak, each in a process of its own.
//!
//! `cargo xtask soak --only hostile-configurations` runs it as a release, in many lengths up to 1.5 MB.

#![expect(clippy::unwrap_used, clippy::panic, reason = "all of it is a test")]

#[path = "../hostile/texts.rs"]
mod texts;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use extension_config::{Facts, cri_resmgr, limits, resolve};

/// Where the soak says that there is more to do.
const ALL_LENGTHS: &str = "HOSTILE_ALL_LENGTHS";
/// What a child is to do: a kind's name, and bytes.
const CASE: &str = "HOSTILE_CASE";

/// Memory for a text, whatever is in it, and for each of its bytes that is read at all. A small map of serde_json takes some 650 bytes.
const BYTES: usize = 4 * 1024 * 1024;
const BYTES_PER_BYTE: usize = 300;
/// Time for a text, and for each of its bytes that is read; a test without optimization takes some thirty times as long as a release.
const TIME: Duration = Duration::from_millis(100);
const TIME_PER_BYTE: Duration = Duration::from_nanos(if cfg!(debug_assertions) { 60_000 } else { 2_000 });

#[test]
fn hostile_texts_stay_within_time_and_memory_budgets() {
    let mut failures = Vec::new();
    for (name, harmful) in cases() {
        let mut lengths = vec![limits::CONFIGURATION_BYTES * 9 / 10, limits::PROVIDER_CONFIG_BYTES * 9 / 10, harmful];
        if std::env::var_os(ALL_LENGTHS).is_some() {
            lengths.extend((10..=20).map(|power| 1 << power));
            lengths.push(1_500_000);
        }
        for length in lengths {
            let Cost { bytes, time, memory, verdict } = in_child(&name, length);
            // Of what is longer, nothing is read.
            let read = bytes.min(limits::PROVIDER_CONFIG_BYTES);
            let most = BYTES + BYTES_PER_BYTE * read;
            let longest = TIME + TIME_PER_BYTE * u32::try_from(read).unwrap();
            println!("{name:<45} {bytes:>9} bytes {:>9.1?} {:>9} KiB  {verdict}", time, memory / 1024);
            if memory > most || time > longest {
                failures.push(format!(
                    "{name}, {bytes} bytes: {memory} bytes, at most {most}; {time:?}, at most {longest:?}"
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn cases() -> Vec<(String, usize)> {
    let configurations = texts::CONFIGURATIONS.iter().map(|kind| (kind.name.to_owned(), kind.harmful));
    let modules = texts::CONFIGURATIONS.iter().map(|kind| (format!("pushed: {}", kind.name), kind.harmful));
    let provider_configs = texts::PROVIDER_CONFIGS.iter().map(|(name, _)| ((*name).to_owned(), 1_300_000));
    configurations.chain(modules).chain(provider_configs).collect()
}

struct Cost {
    bytes: usize,
    time: Duration,
    memory: usize,
    verdict: String,
}

fn in_child(name: &str, length: usize) -> Cost {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .env(CASE, format!("{length} {name}"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}, {length}: {said} {}", String::from_utf8_lossy(&output.stderr));
    let line = said.lines().find_map(|line| line.split_once("COST ")).unwrap_or_else(|| panic!("{said}")).1;
    let mut words = line.splitn(4, ' ');
    let mut number = || words.next().unwrap().parse::<usize>().unwrap();
    let (bytes, micros, memory) = (number(), number(), number());
    Cost {
        bytes,
        time: Duration::from_micros(micros.try_into().unwrap()),
        memory,
        verdict: words.next().unwrap_or_default().to_owned(),
    }
}

#[test]
#[ignore = "what the test above starts"]
fn child() {
    let case = std::env::var(CASE).unwrap();
    let (length, name) = case.split_once(' ').unwrap();
    let length = length.parse().unwrap();
    let work: Box<dyn FnOnce() -> (usize, String)> =
        if let Some((_, make)) = texts::PROVIDER_CONFIGS.iter().find(|(known, _)| *known == name) {
            let value = make(length);
            let text = value.to_string();
            Box::new(move || {
                let result = resolve(None, Some(&value), &Facts::default());
                (text.len(), verdict(result.map(drop).map_err(|problems| problems.to_string())))
            })
        } else {
            let (pushed, name) = name.strip_prefix("pushed: ").map_or((false, name), |name| (true, name));
            let kind = texts::CONFIGURATIONS.iter().find(|kind| kind.name == name).unwrap();
            let text = (kind.text)(length);
            let modules = BTreeMap::from([("policy".to_owned(), text.clone())]);
            Box::new(move || {
                let result = if pushed { cri_resmgr::check_modules(&modules) } else { cri_resmgr::check(&text) };
                (text.len(), verdict(result.map(drop).map_err(|findings| format!("{findings:?}"))))
            })
        };
    // What was needed to make it does not count.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let start = on_cpu();
    let (bytes, verdict) = work();
    let time = on_cpu().saturating_sub(start);
    println!("COST {bytes} {} {} {verdict}", time.as_micros(), peak().saturating_sub(before));
}

fn verdict(result: Result<(), String>) -> String {
    match result {
        Ok(()) => "accepted".to_owned(),
        Err(text) => {
            assert!(text.len() < 32 * 1024, "what is said of it has {} bytes", text.len());
            format!("refused: {}", text.chars().take(90).collect::<String>().replace('\n', " "))
        }
    }
}

/// Time that this thread had: others on the machine do not count.
fn on_cpu() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(statistics.split(' ').next().unwrap().parse().unwrap())
}

/// Bytes of the largest resident set so far.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
