use super::canonical;

#[test]
fn valid_options_are_accepted_in_canonical_form() {
    for (text, expected) in [
        ("", ""),
        ("  ", ""),
        ("--metrics-interval 10s\n", "--metrics-interval 10s"),
        ("\u{feff}--metrics-interval\t10s \r\n --disable-ui\r\n", "--metrics-interval 10s --disable-ui"),
        ("EXTRA_OPTIONS=\"--metrics-interval 10s\"\n", "--metrics-interval 10s"),
        ("\u{feff}# a comment\r\nEXTRA_OPTIONS=\"--metrics-interval 10s\"\r\n", "--metrics-interval 10s"),
        ("EXTRA_OPTIONS=\"-v=2 \\\n  --disable-ui\"", "-v=2 --disable-ui"),
        ("EXTRA_OPTIONS=''", ""),
        ("--metrics-interval 10s", "--metrics-interval 10s"),
        ("-metrics-interval=10s  --disable-policy-switch ", "-metrics-interval=10s --disable-policy-switch"),
        (
            " --rebalance-interval 1m30s --allow-untested-runtimes=true",
            "--rebalance-interval 1m30s --allow-untested-runtimes=true",
        ),
        (
            "-v 2 --vmodule a=1,b=2 --stderrthreshold=warning --force-config-signal SIGHUP",
            "-v 2 --vmodule a=1,b=2 --stderrthreshold=warning --force-config-signal SIGHUP",
        ),
    ] {
        let found = canonical(text).unwrap_or_else(|problems| panic!("{text:?}: {problems:?}"));
        assert_eq!((found.text.as_str(), found.left_out.len()), (expected, 0), "{text:?}");
        assert_eq!(canonical(&found.text).as_ref(), Ok(&found), "{text:?}");
    }
}

#[test]
fn options_that_reach_files_and_values_that_end_the_daemon_are_left_out() {
    for option in [
        "--log_file=/etc/cron.d/x",
        "--log_dir /etc/cron.d",
        "-log_dir=/etc/cron.d",
        "--external-visualizers=/var/lib/kubelet/pods",
        "--bpf-install-path=/tmp",
        "--host-root /x",
        "--cgroup-mount=/x",
        "--cgroup-path=/x",
        "--cgroup-v2-dir=/x",
        "--kubelet-cgroup-root=/x",
        "--log_backtrace_at=a.go:1",
        "--logtostderr=false",
        "--log_file_max_size=1",
        "--rebalance-interval=9999999999h",
        "--metrics-interval=-1s",
        "--metrics-interval=1ns",
        "--v=%n",
        "--v=-1",
        "--vmodule=x",
        "--stderrthreshold=loud",
        "--force-config-signal=SIGKILL",
    ] {
        let found =
            canonical(&format!("--disable-ui {option} --v=2")).unwrap_or_else(|all| panic!("{option}: {all:?}"));
        assert_eq!(found.text, "--disable-ui --v=2", "{option}");
        let name = option.trim_start_matches('-').split(['=', ' ']).next().unwrap_or_default();
        assert!(
            found.left_out.len() == 1 && found.left_out[0].starts_with(&format!("--{name} is left out: ")),
            "{found:?}"
        );
    }
}

#[test]
fn invalid_options_are_refused_with_the_reason() {
    for (text, expected) in [
        ("--relay-socket /tmp/x.sock", "--relay-socket is set by the extension"),
        ("-force-config=/x", "--force-config is set by the extension"),
        ("--reset-policy", "--reset-policy makes the daemon end"),
        ("--disable-ui=maybe", "--disable-ui takes true or false"),
        (
            "--metrics-interval disable",
            "--metrics-interval: \"disable\" is not a duration, allowed: 0, or a time from 100ms to 8760h",
        ),
        ("--metrics-interval --disable-ui", "--metrics-interval needs a value"),
        ("metrics", "\"metrics\" is not an option"),
        ("--a\u{2028}b", "'\\u{2028}' is not allowed, allowed: letters, digits, blanks and -_=.,:/+@%"),
        ("EXTRA_OPTIONS=\"--v='2'\"", "'\\'' is not allowed, allowed: letters, digits, blanks and -_=.,:/+@%"),
        ("PATH=/x", "the variable \"PATH\" has no meaning here, allowed: EXTRA_OPTIONS"),
        ("EXTRA_OPTIONS='--force-config=/x'", "--force-config is set by the extension"),
        ("--cgroup-path \"/x\"", "'\"' is not allowed, allowed: letters, digits, blanks and -_=.,:/+@%"),
        ("--cgroup-path $HOME", "'$' is not allowed, allowed: letters, digits, blanks and -_=.,:/+@%"),
        (
            "--log x",
            "there is no option --log, allowed: --disable-policy-switch, --allow-untested-runtimes, --disable-ui, \
             --add_dir_header, --alsologtostderr, --logtostderr, --one_output, --skip_headers, --skip_log_headers, \
             --metrics-interval, --rebalance-interval, --v, --vmodule, --stderrthreshold, --force-config-signal",
        ),
    ] {
        let found = canonical(text).unwrap_err();
        assert_eq!(found.first().map(String::as_str), Some(expected), "{text:?}");
    }
}

#[test]
fn problems_are_few_and_short_whatever_the_input() {
    assert_eq!(canonical(&"x ".repeat(3000)).unwrap_err(), ["has 6000 bytes, allowed: 4096"]);
    let problems = canonical(&"--y ".repeat(1000)).unwrap_err();
    assert_eq!((problems.len(), problems.last().map(String::as_str)), (21, Some("and 980 more")));
    let options = canonical(&"--log_file=x ".repeat(300)).unwrap();
    assert_eq!((options.left_out.len(), options.text.as_str()), (11, ""));
}
