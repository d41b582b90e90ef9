//! Daemons that do not work: the node goes back by itself, and a removal needs no daemon.

use std::time::{Duration, Instant};

use anyhow::ensure;
use extension_config::desired_state::Phase;
use extension_config::names::node as host;

use testbed::wait_for;

use super::lab::{Lab, WORK};

/// On, off, a daemon that ends at once, and off again: kubelet is started for the first two, and for nothing else.
pub(super) async fn node_41_each_start_of_kubelet_has_a_reason(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    let starts = lab.kubelet_starts().await?;
    let mut counted = Vec::new();
    for daemon_works in [true, false] {
        if daemon_works {
            lab.be_installed().await?;
        } else {
            lab.scripted_daemon("#!/bin/sh\nexit 1\n")?;
            lab.desire(Phase::Install, "").await?;
            lab.start_agent().await?;
            lab.until_it_says("RolledBack").await?;
        }
        counted.push(lab.kubelet_starts().await? - starts);
        lab.be_clean().await?;
        counted.push(lab.kubelet_starts().await? - starts);
    }
    lab.good_daemon()?;
    if counted != [1, 2, 2, 2] {
        let told = lab.shell("journalctl --no-pager -o short-precise -u kubelet | grep -E 'systemd\\[1\\]'").await?;
        anyhow::bail!("started {counted:?} times after each of the four:\n{told}");
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

pub(super) async fn node_09_a_daemon_that_ends_at_once(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    goes_back_without_a_restart(lab, "#!/bin/sh\nexit 1\n").await
}

pub(super) async fn node_10_a_daemon_that_never_answers(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    goes_back_without_a_restart(lab, SILENT).await
}

/// kubelet is not touched for a daemon that never proved itself; only the journal stays, for the back-off.
async fn goes_back_without_a_restart(lab: &Lab<'_>, daemon: &str) -> anyhow::Result<()> {
    let before = lab.be_clean().await?;
    lab.scripted_daemon(daemon)?;
    lab.desire(Phase::Install, "").await?;
    lab.start_agent().await?;
    lab.until_it_says("RolledBack").await?;
    lab.ensure_as_before(&[host::STATE_DIR, host::RUN_DIR])?;
    ensure!(lab.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
    lab.be_clean().await?;
    ensure!(lab.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
    Ok(())
}

pub(super) async fn node_11_a_daemon_that_kubelet_cannot_use(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    lab.scripted_daemon(CHOOSY)?;
    lab.desire(Phase::Install, "").await?;
    lab.start_agent().await?;
    lab.until_it_says("RolledBack").await?;
    let back = lab.facts().await?;
    back.ensure_on_containerd()?;
    lab.ensure_as_before(&[host::STATE_DIR, host::RUN_DIR])?;
    lab.until_node_ready().await?;
    tokio::time::sleep(QUIET).await;
    let later = lab.facts().await?;
    ensure!(later.kubelet_invocation == back.kubelet_invocation, "kubelet does not stay up, or was switched again");
    lab.until_it_says("RolledBack").await?;
    // A daemon that works is other input: it may be tried at once.
    lab.good_daemon()?;
    lab.kill_agent().await?;
    lab.start_agent().await?;
    lab.until_installed().await?;
    lab.be_clean().await.map(drop)
}

pub(super) async fn node_28_removal_while_the_proxy_is_dead(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_installed().await?;
    lab.kill_agent().await?;
    lab.shell("systemctl stop cri-resource-manager").await?;
    lab.be_clean().await.map(drop)
}

/// Field case N19. systemd gives it up ten times three, the agent starts it again twice; then the node is rolled back within the time that
/// `docs/operations.md` names.
pub(super) async fn node_37_a_daemon_that_dies_four_times_a_minute(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    let before = lab.be_clean().await?;
    let program = lab.daemon_for_scripts()?;
    lab.scripted_daemon(&format!("#!/bin/sh\n{program} \"$@\" &\nsleep 15\nkill -9 $!\nexit 1\n"))?;
    lab.desire(Phase::Install, "").await?;
    lab.start_agent().await?;
    lab.until_installed().await?;
    let start = Instant::now();
    wait_for("the agent to give the daemon up", GIVEN_UP, || async {
        let (ready, reason) = lab.says().await?;
        ensure!(!ready && reason.contains("RolledBack"), "it says: {ready} {reason}");
        Ok(Some(()))
    })
    .await?;
    let took = start.elapsed();
    lab.facts().await?.ensure_on_containerd()?;
    lab.ensure_as_before(&[host::STATE_DIR, host::RUN_DIR])?;
    lab.until_node_ready().await?;
    tokio::time::sleep(QUIET).await;
    lab.until_it_says("RolledBack").await?;
    eprintln!("given up after {took:.0?}; kubelet was started {} times", lab.kubelet_starts().await?);
    lab.good_daemon()?;
    lab.be_clean().await?;
    ensure!(lab.facts().await?.kubelet_pid != before.kubelet_pid, "kubelet was never switched");
    Ok(())
}

/// The version before comes back, and kubelet with it if the guard has led it away meanwhile.
pub(super) async fn node_31_a_new_version_that_fails(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.good_daemon()?;
    lab.be_installed().await?;
    let good = lab.shell(&format!("sha256sum <{}", host::DAEMON)).await?;
    lab.kill_agent().await?;
    lab.scripted_daemon("#!/bin/sh\nexit 1\n")?;
    lab.start_agent().await?;
    lab.until_it_says("running the previous installation until then").await?;
    wait_for("the version before to run", WORK, || async {
        lab.facts().await?.ensure_on_proxy(lab.worker).await?;
        ensure!(lab.shell(&format!("sha256sum <{}", host::DAEMON)).await? == good, "another daemon is in place");
        ensure!(!lab.exists(host::KEPT_DAEMON)?, "{} is still there", host::KEPT_DAEMON);
        Ok(Some(()))
    })
    .await?;
    // A version that works ends the wait.
    lab.kill_agent().await?;
    lab.newer_good_daemon().await?;
    lab.start_agent().await?;
    lab.until_installed().await?;
    lab.be_clean().await.map(drop)
}
