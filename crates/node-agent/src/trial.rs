//! What comes of trying out a policy: its program, pointed at a socket that is not there, ends with an error in any case. Which one says how it went.
//!
//! Source of the texts: nri-plugins v0.14.0; `fake-nri-runtime`'s tests hold them against the programs.

use systemd_client::Ended;

/// Exit code of a program that has given up.
const GIVEN_UP: i32 = 1;
/// What it says when the policy was built and only the runtime is missing.
const REACHED_THE_RUNTIME: [&str; 2] = ["failed to start NRI plugin", "nri.sock"];
/// Characters of what a program has said that are shown.
const TOLD_CHARACTERS: usize = 300;

/// Why a policy cannot run on this node; `Ok` when only the runtime was missing.
pub(crate) fn verdict(ended: &Ended, output: &str) -> Result<(), String> {
    match ended {
        Ended::Exit(GIVEN_UP) if REACHED_THE_RUNTIME.iter().all(|text| output.contains(text)) => Ok(()),
        // It waits for another document.
        Ended::TimeOver => Err(format!("its program does not accept it: {}", last_words(output))),
        Ended::Exit(code) => Err(format!("its program ended with {code}: {}", last_words(output))),
        Ended::Otherwise(how) => Err(format!("its program could not be tried out ({how}): {}", last_words(output))),
    }
}

/// The last line that says anything.
fn last_words(output: &str) -> String {
    let line = output.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
    let printable = line.chars().map(|character| if character.is_control() { ' ' } else { character });
    printable.take(TOLD_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_that_has_reached_the_runtime_takes_its_document() {
        let reached = "I: balloons policy started\nF: failed to start NRI plugin: dial unix /run/x/nri.sock: connect: no such file\n";
        assert_eq!(verdict(&Ended::Exit(1), reached), Ok(()));
        for (ended, output, reason) in [
            (Ended::Exit(0), reached, "its program ended with 0: F: failed to start NRI plugin"),
            (Ended::Exit(1), "F: unknown field \"x\"\n\n", "its program ended with 1: F: unknown field \"x\""),
            (Ended::Exit(1), "", "its program ended with 1: it said nothing"),
            (Ended::TimeOver, "W: invalid\u{1b}[0m\n", "its program does not accept it: W: invalid [0m"),
            (Ended::Otherwise("oom-kill".into()), "", "its program could not be tried out (oom-kill): it said nothing"),
        ] {
            let found = verdict(&ended, output).unwrap_err();
            assert!(found.starts_with(reason), "{found}");
        }
        assert!(verdict(&Ended::Exit(1), &"x".repeat(5000)).unwrap_err().len() < 400);
    }
}
