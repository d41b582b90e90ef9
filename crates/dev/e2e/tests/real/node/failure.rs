//! Daemons that do not work: the node goes back by itself, and a removal needs no daemon.

use std::time::{Duration, Instant};

use anyhow::ensure;
use extension_config::desired_state::Phase;
use extension_config::names::node as host;

use testbed::wait_for;

use super::fixture::{NodeFixture, WORK};

/// On, off, a daemon that ends at once, and off again: kubelet is started for the first two, and for nothing else.
pub(super) async fn node_41_each_start_of_kubelet_has_a_reason(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let starts = fixture.kubelet_starts().await?;
    let mut counted = Vec::new();
    for daemon_works in [true, false] {
        if daemon_works {
            fixture.be_installed().await?;
        } else {
            fixture.scripted_daemon("#!/bin/sh\nexit 1\n")?;
            fixture.desire(Phase::Install, "").await?;
            fixture.start_agent().await?;
            fixture.until_it_says("RolledBack").await?;
        }
        counted.push(fixture.kubelet_starts().await? - starts);
        fixture.be_clean().await?;
        counted.push(fixture.kubelet_starts().await? - starts);
    }
    fixture.good_daemon()?;
    if counted != [1, 2, 2, 2] {
        let reported =
            fixture.shell("journalctl --no-pager -o short-precise -u kubelet | grep -E 'systemd\\[1\\]'").await?;
        anyhow::bail!("started {counted:?} times after each of the four:\n{reported}");
    }
    Ok(())
}

/// How long we look whether something stays as it is.
const QUIET: Duration = Duration::from_secs(15);

/// Longest time until a daemon that dies again and again is given up (`docs/operations.md`: about ten minutes), with what proofs take.
const GIVEN_UP: Duration = Duration::from_secs(840);

/// Accepts connections and says nothing.
const SILENT: &str = r"#!/usr/bin/perl
use Socket;
mkdir '/run/cri-resmgr', 0711;
unlink '/run/cri-resmgr/cri-resmgr.sock';
socket(S, AF_UNIX, SOCK_STREAM, 0) or die;
bind(S, pack_sockaddr_un('/run/cri-resmgr/cri-resmgr.sock')) or die;
listen(S, 64) or die;
my @kept;
while (accept(my $client, S)) { push @kept, $client }
";

/// Passes everything on to containerd, but hangs up on kubelet.
const CHOOSY: &str = r"#!/usr/bin/perl
use Socket;
$SIG{CHLD} = 'IGNORE';
mkdir '/run/cri-resmgr', 0711;
unlink '/run/cri-resmgr/cri-resmgr.sock';
socket(S, AF_UNIX, SOCK_STREAM, 0) or die;
bind(S, pack_sockaddr_un('/run/cri-resmgr/cri-resmgr.sock')) or die;
listen(S, 64) or die;
while (accept(my $client, S)) {
    my ($pid) = unpack('i3', getsockopt($client, SOL_SOCKET, 17));
    open(my $comm, '<', '/proc/' . $pid . '/comm');
    my $name = <$comm> // '';
    if ($name eq 'kubelet' . chr(10)) { close($client); next }
    next if fork;
    socket(my $up, AF_UNIX, SOCK_STREAM, 0) or exit;
    connect($up, pack_sockaddr_un('/run/containerd/containerd.sock')) or exit;
    for (;;) {
        my $read = '';
        vec($read, fileno($client), 1) = 1;
        vec($read, fileno($up), 1) = 1;
        select($read, undef, undef, undef) > 0 or exit;
        for ([$client, $up], [$up, $client]) {
            my ($from, $to) = @$_;
            next unless vec($read, fileno($from), 1);
            sysread($from, my $bytes, 65536) or exit;
            while (length $bytes) { substr($bytes, 0, syswrite($to, $bytes) // exit) = '' }
        }
    }
}
";

pub(super) async fn node_09_a_daemon_that_ends_at_once(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    goes_back_without_a_restart(fixture, "#!/bin/sh\nexit 1\n").await
}

pub(super) async fn node_10_a_daemon_that_never_answers(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    goes_back_without_a_restart(fixture, SILENT).await
}

/// kubelet is not touched for a daemon that never proved itself; only the journal stays, for the back-off.
async fn goes_back_without_a_restart(fixture: &NodeFixture<'_>, daemon: &str) -> anyhow::Result<()> {
    let before = fixture.be_clean().await?;
    fixture.scripted_daemon(daemon)?;
    fixture.desire(Phase::Install, "").await?;
    fixture.start_agent().await?;
    fixture.until_it_says("RolledBack").await?;
    fixture.ensure_as_before(&[host::STATE_DIR, host::RUN_DIR])?;
    ensure!(fixture.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
    fixture.be_clean().await?;
    ensure!(fixture.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
    Ok(())
}

pub(super) async fn node_11_a_daemon_that_kubelet_cannot_use(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    fixture.scripted_daemon(CHOOSY)?;
    fixture.desire(Phase::Install, "").await?;
    fixture.start_agent().await?;
    fixture.until_it_says("RolledBack").await?;
    let back = fixture.facts().await?;
    back.ensure_on_containerd()?;
    fixture.ensure_as_before(&[host::STATE_DIR, host::RUN_DIR])?;
    fixture.until_node_ready().await?;
    tokio::time::sleep(QUIET).await;
    let later = fixture.facts().await?;
    ensure!(later.kubelet_invocation == back.kubelet_invocation, "kubelet does not stay up, or was switched again");
    fixture.until_it_says("RolledBack").await?;
    // A daemon that works is other input: it may be tried at once.
    fixture.good_daemon()?;
    fixture.kill_agent().await?;
    fixture.start_agent().await?;
    fixture.until_installed().await?;
    fixture.be_clean().await.map(drop)
}

pub(super) async fn node_28_removal_while_the_proxy_is_dead(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_installed().await?;
    fixture.kill_agent().await?;
    fixture.shell("systemctl stop cri-resource-manager").await?;
    fixture.be_clean().await.map(drop)
}

/// Field case N19. systemd gives it up ten times three, the agent starts it again twice; then the node is rolled back within the time that
/// `docs/operations.md` names.
pub(super) async fn node_37_a_daemon_that_dies_four_times_a_minute(
    fixture: &mut NodeFixture<'_>,
) -> anyhow::Result<()> {
    let before = fixture.be_clean().await?;
    let program = fixture.daemon_for_scripts()?;
    fixture.scripted_daemon(&format!("#!/bin/sh\n{program} \"$@\" &\nsleep 15\nkill -9 $!\nexit 1\n"))?;
    fixture.desire(Phase::Install, "").await?;
    fixture.start_agent().await?;
    fixture.until_installed().await?;
    let start = Instant::now();
    wait_for("the agent to give the daemon up", GIVEN_UP, || async {
        let (ready, reason) = fixture.says().await?;
        ensure!(!ready && reason.contains("RolledBack"), "it says: {ready} {reason}");
        Ok(Some(()))
    })
    .await?;
    let took = start.elapsed();
    fixture.facts().await?.ensure_on_containerd()?;
    fixture.ensure_as_before(&[host::STATE_DIR, host::RUN_DIR])?;
    fixture.until_node_ready().await?;
    tokio::time::sleep(QUIET).await;
    fixture.until_it_says("RolledBack").await?;
    eprintln!("given up after {took:.0?}; kubelet was started {} times", fixture.kubelet_starts().await?);
    fixture.good_daemon()?;
    fixture.be_clean().await?;
    ensure!(fixture.facts().await?.kubelet_pid != before.kubelet_pid, "kubelet was never switched");
    Ok(())
}

/// The version before comes back, and kubelet with it if the guard has led it away meanwhile.
pub(super) async fn node_31_a_new_version_that_fails(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.good_daemon()?;
    fixture.be_installed().await?;
    let good = fixture.shell(&format!("sha256sum <{}", host::DAEMON)).await?;
    fixture.kill_agent().await?;
    fixture.scripted_daemon("#!/bin/sh\nexit 1\n")?;
    fixture.start_agent().await?;
    fixture.until_it_says("running the previous installation until then").await?;
    wait_for("the version before to run", WORK, || async {
        fixture.facts().await?.ensure_on_proxy(fixture.worker).await?;
        ensure!(fixture.shell(&format!("sha256sum <{}", host::DAEMON)).await? == good, "another daemon is in place");
        ensure!(!fixture.exists(host::KEPT_DAEMON)?, "{} is still there", host::KEPT_DAEMON);
        Ok(Some(()))
    })
    .await?;
    // A version that works ends the wait.
    fixture.kill_agent().await?;
    fixture.newer_good_daemon().await?;
    fixture.start_agent().await?;
    fixture.until_installed().await?;
    fixture.be_clean().await.map(drop)
}
