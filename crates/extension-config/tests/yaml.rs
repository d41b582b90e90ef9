//! Does the daemon's YAML library read from what travels what we have read?
//!
//! Needs `deploy/testbed/yaml`, built: `cargo xtask soak --only yaml-differential`. From the corpus on, texts are changed at random; for the
//! canonical text of each that we accept there must be no difference. What it reads from the text as it was written is only counted.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use extension_config::cri_resmgr::check;
use serde_json::Value;

/// What is put into texts: characters that some readers take for line breaks or refuse, and words that YAML 1.1 reads in its own way.
const PIECES: [&str; 28] = [
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{feff}",
    "\u{a0}",
    "\t",
    "\n",
    " ",
    "#",
    ": ",
    "- ",
    "\"",
    "'",
    "\\u2028",
    "yes",
    "no",
    "~",
    "010",
    "0x1f",
    "1_0",
    "1:30",
    "!x ",
    "!!str ",
    "&a ",
    "*a",
    "<<: ",
    "? ",
    "\u{1f600}",
];

/// xorshift64: equal runs from equal seeds.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap_or_default()
    }
}

fn changed(text: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.below(characters.len() + 1);
        match random.below(4) {
            0 if at < characters.len() => drop(characters.remove(at)),
            1 => {
                let end = (at + random.below(12)).min(characters.len());
                let part: Vec<char> = characters[at..end].to_vec();
                let to = random.below(characters.len() + 1);
                characters.splice(to..to, part);
            }
            _ => drop(characters.splice(at..at, PIECES[random.below(PIECES.len())].chars())),
        }
    }
    characters.into_iter().collect()
}

/// Numbers by value: one writes `1.0` where another writes `1`.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

#[test]
#[ignore = "needs the program in YAML_TO_JSON"]
fn our_yaml_reader_agrees_with_the_daemons_library() {
    let program = std::env::var_os("YAML_TO_JSON").expect("YAML_TO_JSON names the program");
    let seconds = std::env::var("YAML_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut questions, mut answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut ask = |text: &str| -> Option<Value> {
        writeln!(questions, "{}", serde_json::to_string(text).unwrap()).unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        answer.get_mut("read").map(Value::take)
    };
    let mut seeds: Vec<String> = Vec::new();
    for directory in ["corpus/valid", "corpus/broken"] {
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).unwrap() {
            seeds.push(std::fs::read_to_string(entry.unwrap().path()).unwrap());
        }
    }
    seeds.sort();
    let mut random = Random(0x5eed);
    let (mut tried, mut accepted, mut raw_refused, mut raw_differs) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut differences = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) && differences.len() < 20 {
        let mut text = seeds[random.below(seeds.len())].clone();
        if tried >= seeds.len() as u64 {
            text = changed(&text, &mut random);
        } else {
            text.clone_from(&seeds[usize::try_from(tried).unwrap()]);
        }
        tried += 1;
        let Ok(checked) = check(&text) else { continue };
        accepted += 1;
        let ours: Value = serde_json::from_str(checked.canonical()).unwrap();
        let file = format!("# a comment\n{}", checked.canonical());
        let modules = checked.by_module();
        let theirs = ask(&file);
        if !theirs.as_ref().is_some_and(|theirs| same(&ours, theirs)) {
            differences.push(format!("{text:?}: {ours} is read as {theirs:?}"));
        }
        for (key, text) in &modules {
            if !ask(text).is_some_and(|theirs| same(&ours[key], &theirs)) {
                differences.push(format!("module {key}: {text:?}"));
            }
        }
        match ask(&text) {
            None => raw_refused += 1,
            Some(raw) if !same(&raw, &ours) => raw_differs += 1,
            Some(_) => {}
        }
    }
    // The end of its questions ends it.
    drop(questions);
    child.wait().unwrap();
    println!(
        "YAML {tried} texts, {accepted} accepted: of their canonical texts 0 refused or read otherwise; as written {raw_refused} refused, {raw_differs} read otherwise"
    );
    assert!(differences.is_empty() && accepted > 0, "{accepted} accepted; {}", differences.join("\n"));
}
