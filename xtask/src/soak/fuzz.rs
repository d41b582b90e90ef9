//! Fuzzing with libFuzzer on a stable toolchain: coverage is a pass of LLVM; sanitizers would need a nightly one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::SoakArgs;

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What cargo-fuzz passes for a build without a sanitizer; and what is silent in a release must be a finding here.
const FLAGS: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];
/// Where it begins: the corpus of the tests, and what owners are shown.
const SEEDS: [&str; 3] =
    ["crates/extension-config/corpus/valid", "crates/extension-config/corpus/broken", "examples/provider-config"];
/// A text that takes longer is a finding, in seconds.
const SLOWEST: u32 = 10;

/// Decoder and validator of configurations, from the corpus on.
pub(super) fn configuration(root: &Path, args: &SoakArgs) -> anyhow::Result<String> {
    let time = args.time();
    let work = testbed::cache_dir()?.join("soak").join("fuzz-configuration");
    let (corpus, findings) = (work.join("corpus"), work.join("findings"));
    for directory in [&corpus, &findings] {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let program = build(root)?;
    let log = work.join("log");
    let file = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let status = Command::new(program)
        .current_dir(root)
        .arg(&corpus)
        .args(SEEDS)
        .arg(format!("-max_total_time={}", time.as_secs()))
        .arg(format!("-timeout={SLOWEST}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-print_final_stats=1", "-max_len=4096", "-rss_limit_mb=2048"])
        .stderr(file)
        .status()
        .context("cannot run the fuzzer")?;
    let said = std::fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())?;
    ensure!(
        status.success(),
        "a finding in {}, described in {}: {}",
        findings.display(),
        log.display(),
        finding(&said).unwrap_or_else(|| status.to_string())
    );
    let texts = statistic(&said, "number_of_executed_units").context("the fuzzer does not say what it did")?;
    let found = statistic(&said, "new_units_added").context("the fuzzer does not say what it found")?;
    ensure!(texts > 0, "the fuzzer tried nothing");
    Ok(format!("{texts} texts, {found} of them reached new code, no finding"))
}

fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    // Everything is built anew with coverage: elsewhere, so that nothing else has to be built again after it.
    let target = target.join("soak");
    let mut command = image_builder::binaries::cargo();
    command.args(["build", "--release", "--locked", "--package", "extension-config", "--features", "fuzz"]);
    command.args(["--bin", "fuzz-configuration", "--target", TARGET, "--config", "profile.release.lto=false"]);
    let status = command
        .current_dir(root)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the fuzzer cannot be built");
    Ok(target.join(TARGET).join("release").join("fuzz-configuration"))
}

/// `stat::NAME: NUMBER` of libFuzzer.
fn statistic(said: &str, name: &str) -> Option<u64> {
    said.lines()
        .find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

/// What a person has to know first: where it panicked, or what else libFuzzer found.
fn finding(said: &str) -> Option<String> {
    let marks = ["panicked at", "ERROR: libFuzzer"];
    let mut lines = said.lines().skip_while(|line| !marks.iter().any(|mark| line.contains(mark)));
    let first = lines.next()?;
    Some(format!("{first} {}", lines.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::{finding, statistic};

    #[test]
    fn statistics_of_libfuzzer_are_read() {
        let said = "#2\tINITED cov: 3\nstat::number_of_executed_units: 71\nstat::average_exec_per_sec:     7\n";
        assert_eq!(statistic(said, "number_of_executed_units"), Some(71));
        assert_eq!(statistic(said, "number"), None);
        assert_eq!(finding(said), None);
        let panicked =
            "INFO: x\nthread '<unnamed>' panicked at a.rs:1:2:\nwhy\n==1== ERROR: libFuzzer: deadly signal\n";
        assert_eq!(finding(panicked).as_deref(), Some("thread '<unnamed>' panicked at a.rs:1:2: why"));
    }
}
