//! `cargo xtask images` says what cannot be done before it begins with anything.
#![expect(clippy::unwrap_used, reason = "a failed step of a test's set-up ends the test")]

use std::path::Path;
use std::process::{Command, Output};

/// rustc as far as it is asked: it has no standard library for any target, in an empty folder.
const RUSTC: &str = "#!/bin/sh\necho \"$(dirname \"$0\")/empty\"\n";

/// Runs the command where any build would fail at once, and leave its traces.
fn images(folder: &Path, arguments: &[&str]) -> Output {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(folder.join("empty")).unwrap();
    let rustc = folder.join("rustc");
    std::fs::write(&rustc, RUSTC).unwrap();
    std::fs::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).unwrap();
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["images", "--dir"])
        .arg(folder.join("dist"))
        .args(arguments)
        .env("RUSTC", &rustc)
        .env("CARGO", folder.join("no-cargo"))
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env_remove("REGISTRY")
        .output()
        .unwrap()
}

#[test]
fn a_missing_payload_is_an_error_of_one_line_before_any_build() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, reported) in [
        // The target of Rust is missing.
        (&["--platform", "linux/amd64", "--platform", "linux/arm64"][..], "`rustup target add "),
        // The agent's image carries cri-resmgr, which is for one platform alone.
        (&["--platform", "linux/arm64"], "is made for linux/amd64 alone"),
        (
            &["--platform", "linux/amd64", "--platform", "linux/arm64", "--output", "docker-archive"],
            "a docker-archive holds one platform",
        ),
    ] {
        let output = images(folder.path(), &[arguments, &["--payload", "from-source"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}: {said}");
        assert!(said.lines().count() == 1 && said.contains(reported), "{arguments:?}: {said}");
        for made in ["dist", "target", "cache"] {
            assert!(!folder.path().join(made).exists(), "{arguments:?} made {made}");
        }
    }
}

#[test]
fn names_that_no_registry_takes_are_refused_before_any_build() {
    let folder = tempfile::tempdir().unwrap();
    for (registry, tag) in [
        ("my_registry:5000", "1"),
        ("registry.example.com:port", "1"),
        ("registry.example.com/-team", "1"),
        ("registry.example.com//team", "1"),
        ("/team", "1"),
        ("registry.example.com/Team", "1"),
        ("https://registry.example.com", "1"),
        ("registry.example.com", "1+2"),
    ] {
        let arguments = ["--registry", registry, "--tag", tag, "--payload", "from-source", "--push"];
        let output = images(folder.path(), &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("image reference"), "{registry} {tag}: {said}");
        assert_eq!(said.lines().count(), 1, "{registry} {tag}: {said}");
        // A registry by its IPv6 address is none of them: what is missing is reported next.
        let arguments = ["--registry", "[fd00::1]:5000/team", "--tag", "1", "--payload", "from-source", "--push"];
        let said = String::from_utf8_lossy(&images(folder.path(), &arguments).stderr).into_owned();
        assert!(said.contains("rustup target add"), "{said}");
        for made in ["dist", "target", "cache"] {
            assert!(!folder.path().join(made).exists(), "{registry} made {made}");
        }
    }
}

/// A folder in which nothing but the builds themselves would fail.
fn ready() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("empty")).unwrap();
    std::fs::write(folder.path().join("empty/libstd-1.rlib"), "").unwrap();
    folder
}

#[test]
fn a_local_archive_with_another_sum_is_refused_before_any_build() {
    let folder = ready();
    let archive = folder.path().join("cri-resource-manager-0.9.2.x86_64.tar.gz");
    std::fs::write(&archive, "other").unwrap();
    let file = archive.to_str().unwrap();
    let output = images(folder.path(), &["--cri-resmgr-archive", file, "--payload-sha256", &"0".repeat(64)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("; refused"), "{said}");
    assert!(!folder.path().join("dist").exists() && !folder.path().join("target").exists(), "{said}");
    // It is no word about anything else.
    let output = images(folder.path(), &["--payload", "from-source", "--payload-sha256", &"0".repeat(64)]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_password_in_the_payload_url_is_not_shown() {
    let folder = ready();
    for url in ["http://user:secret@127.0.0.1:1/a?key=secret", "http://user:secret@[::/a", "secret:secret@host/a"] {
        let output = images(folder.path(), &["--payload-url", url, "--payload-sha256", &"0".repeat(64)]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !said.contains("secret") && !said.contains("user"), "{said}");
    }
}

#[test]
fn a_payload_with_another_digest_is_refused_before_any_build() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/archive.tar.gz", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nother").unwrap();
    });
    let folder = ready();
    let output = images(folder.path(), &["--payload-url", &url, "--payload-sha256", &"0".repeat(64)]);
    server.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("refused"), "{said}");
    assert!(!folder.path().join("dist").exists() && !folder.path().join("target").exists(), "{said}");
}
