use super::{Frequency, frequency, matches_glob};

/// A grammar, what it takes, and what it does not.
type Case = (fn(&str) -> bool, &'static [&'static str], &'static [&'static str]);

#[test]
fn texts_are_taken_or_refused_as_their_grammar_says() {
    let cases: [Case; 9] = [
        (super::is_glob, &["*", "app-?", "[a-c]x", "[^a]", r"a\*b"], &["", "[", "[a", r"a\", "[]a]", "[-a]", "[a-]"]),
        (
            super::is_duration,
            &["0", "30s", "1m30s", "1.5h", "100ms", "0s"],
            &["", "30", "-1s", "s", "1d", "1 s", "1.2.3s", "9999999h"],
        ),
        (
            super::is_loopback_endpoint,
            &["", "127.0.0.1:8891", "127.8.8.8:1", "[::1]:8891"],
            &[
                ":8891",
                "0.0.0.0:8891",
                "localhost:8891",
                "127.0.0.1",
                "127.0.0.1:0",
                "127.0.0.1:99999",
                "10.0.0.1:80",
                "http://127.0.0.1:80",
            ],
        ),
        (
            super::is_cache_share,
            &["50%", "50-60%", "0-100%", "0-5", "2,3", "0xff0", "63"],
            &["", "%", "0%", "101%", "60-50%", "0,2", "0xf0f", "0x", "0x0", "64", "5-2", "-1", "0x1ffffffffffffffff"],
        ),
        (super::is_bandwidth, &["80%", "1000MBps"], &["", "80", "0%", "0MBps", "1000MB", "-1%"]),
        (super::is_debug, &["", "policy", "a,b:on, c:off", "all"], &["a:maybe", "a:on:b", "on :a"]),
        (super::is_severity, &["info", "ERROR", "2"], &["", "4", "loud", "-1"]),
        (super::is_backtrace, &["", "a.go:1"], &["a.go", "a:1", "a.go:0", "a.go:x", "a.go:1:2"]),
        (super::is_vmodule, &["", "a=1", "a=1,b*=2,"], &["a", "a=", "=1", "a=-1", "a=1=2"]),
    ];
    for (index, (test, right, wrong)) in cases.iter().enumerate() {
        for text in *right {
            assert!(test(text), "grammar {index}: {text:?}");
        }
        for text in *wrong {
            assert!(!test(text), "grammar {index}: {text:?}");
        }
    }
}

#[test]
fn a_glob_matches_as_in_go() {
    for (pattern, expected) in [
        ("*", true),
        ("kube-*", true),
        ("kube-system", true),
        ("*system", true),
        ("*-*-*", false),
        ("k?be-s*m", true),
        ("[j-l]ube-system", true),
        ("[^j-l]ube-system", false),
        (r"kube\-system", true),
        ("kube-system?", false),
        ("kube-system*", true),
        ("kube", false),
        ("default", false),
        ("[", false),
        ("", false),
    ] {
        assert_eq!(matches_glob(pattern, "kube-system"), expected, "{pattern}");
    }
}

#[test]
fn frequencies_are_in_kilohertz() {
    for (text, expected) in [
        ("", Some(Frequency::Unset)),
        ("turbo", Some(Frequency::OfNode)),
        ("Base", Some(Frequency::OfNode)),
        ("2900000", Some(Frequency::Khz(2_900_000.0))),
        ("2.9GHz", Some(Frequency::Khz(2_900_000.0))),
        (" 800 MHz ", Some(Frequency::Khz(800_000.0))),
        (".5G", Some(Frequency::Khz(500_000.0))),
        ("800", Some(Frequency::Khz(800.0))),
        ("0", Some(Frequency::Khz(0.0))),
        ("0.1", None),
        ("2.", None),
        ("-1", None),
        ("1THz", None),
        ("fast", None),
        ("99999GHz", None),
    ] {
        assert_eq!(frequency(text), expected, "{text:?}");
    }
}
