//! Connecting to what is no bus.

use systemd_client::{Systemd, SystemdError};

#[tokio::test]
async fn connect_to_a_missing_bus_fails_and_asks_for_a_reconnect() {
    let error = Systemd::connect("unix:path=/nonexistent/bus").await.expect_err("missing");
    assert!(error.needs_reconnect(), "{error:?}");
}

#[tokio::test]
async fn connect_to_an_invalid_address_fails_for_good() {
    let error = Systemd::connect("nonsense").await.expect_err("bad");
    assert!(!error.needs_reconnect(), "{error:?}");
}

/// The clock stands still while something can be done, so the ten seconds take none.
#[tokio::test(start_paused = true)]
async fn connect_to_a_silent_bus_fails_at_the_deadline() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let socket = directory.path().join("bus");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
    let error = Systemd::connect(&format!("unix:path={}", socket.display())).await.expect_err("silent");
    assert!(matches!(error, SystemdError::Timeout { .. }), "{error:?}");
}
