//! Texts of all units, drop-ins and environment files that we write.

mod plugin;

use extension_config::names::node;

use crate::entry::MARKER;
use crate::static_config::StaticConfig;

pub use plugin::plugin_unit;

/// Of the daemon below `/run` and `/var/lib`.
const DAEMON_DIRECTORY: &str = "cri-resmgr";
const NOTE: &str = "; edits are undone.\n";

/// The daemon's environment file. `CONFIG_OPTIONS` names the static configuration; `EXTRA_OPTIONS` come last on the command line and so win.
#[must_use]
pub fn environment(config: &StaticConfig, extra_options: &str) -> String {
    let config = match config {
        StaticConfig::BuiltIn => String::new(),
        StaticConfig::Fallback(_) => format!("--fallback-config {}", node::FALLBACK_CONFIG),
        StaticConfig::Force(_) => format!("--force-config {}", node::FORCE_CONFIG),
    };
    format!("{MARKER}{NOTE}CONFIG_OPTIONS={}\nEXTRA_OPTIONS={}\n", quote(&config), quote(extra_options))
}

/// A value of an environment file in double quotes. Control characters (a line break ends the value) become blanks: the options are words.
fn quote(value: &str) -> String {
    let mut quoted = String::from("\"");
    for character in value.trim().chars() {
        match character {
            '"' | '\\' | '$' | '`' => quoted.extend(['\\', character]),
            control if control.is_control() => quoted.push(' '),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A static configuration file: the owner's text under our marker (a comment in YAML).
#[must_use]
pub fn configuration(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{MARKER}{NOTE}{text}{end}")
}

/// The daemon's unit.
///
/// `Before=` and `ExecStartPost=` make the first kubelet start of a boot wait until the proxy answers (or the wait gives up); nothing makes
/// kubelet *need* the proxy. The start limit is finite, so that a daemon that dies ten times within ten minutes, slowly or at once, ends in
/// `failed` and `OnFailure=` fires; `RestartSec=` is at least a second, while a single crash is over before kubelet minds.
///
/// It writes to its two directories, and below `/sys` and `/proc` to what it is there for: control groups, resctrl, `cpufreq` and uncore limits
/// (`/sys/devices/system`), `clear_refs` of processes whose pages it moves. Everything else of the host is read-only to it. Character devices stay
/// (Speed Select and `msr`), disks do not. `ProtectClock=` and `PrivateDevices=` would take Speed Select away, `ProtectControlGroups=` and
/// `ProtectKernelTunables=` the cpusets and resctrl, `CapabilityBoundingSet=` without `SYS_ADMIN`, `SYS_NICE`, `SYS_PTRACE` or `SYS_RAWIO` the
/// moving of pages, eBPF or `msr`. Mounts of the host keep arriving (as slaves): volumes of pods give hints about where their devices are.
///
/// `/run` is its own, with its sockets and containerd's in it: v0.9.2 removes and writes `/var/run/cri-resmgr.pid` whatever `--pid-file` says
/// (`pkg/pidfile`), and ends where it cannot. Its directory of sockets outlives it: kubelet and the agent look into it while it is down.
#[must_use]
pub fn daemon_unit() -> String {
    format!(
        "{MARKER}{NOTE}[Unit]
Description=CRI Resource Manager
Documentation=https://intel.github.io/cri-resource-manager
After={containerd}
Before={kubelet}
StartLimitIntervalSec=600
StartLimitBurst=10
OnFailure={guard}

[Service]
Type=simple
EnvironmentFile=-{environment}
ExecStart={daemon} --runtime-socket={containerd_socket} --relay-socket={relay_socket} --config-socket={config_socket} \
         --agent-socket={agent_socket} $CONFIG_OPTIONS $EXTRA_OPTIONS
ExecStartPost=-{gate} wait
Restart=always
RestartSec=1
TimeoutStartSec=60
TimeoutStopSec=10
OOMScoreAdjust=-999
LogRateLimitIntervalSec=10
LogRateLimitBurst=5000
RuntimeDirectory={name}
RuntimeDirectoryMode=0711
RuntimeDirectoryPreserve=yes
StateDirectory={name}
StateDirectoryMode=0710
TemporaryFileSystem=/run:mode=0755
BindPaths={run}
BindReadOnlyPaths={containerd_run}
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ReadOnlyPaths=-/proc/sys -/proc/sysrq-trigger /sys
ReadWritePaths=-/sys/fs/cgroup -/sys/fs/resctrl -/sys/devices/system
DeviceAllow=char-* rw
CapabilityBoundingSet=~CAP_MKNOD CAP_NET_ADMIN CAP_NET_RAW CAP_SETPCAP CAP_SYS_BOOT CAP_SYS_MODULE CAP_SYS_TIME
NoNewPrivileges=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
",
        containerd = node::CONTAINERD_UNIT,
        kubelet = node::KUBELET_UNIT,
        guard = node::GUARD_UNIT,
        environment = node::ENVIRONMENT_FILE,
        daemon = node::DAEMON,
        containerd_socket = node::CONTAINERD_SOCKET,
        relay_socket = node::RELAY_SOCKET,
        config_socket = node::CONFIG_SOCKET,
        agent_socket = node::AGENT_SOCKET,
        name = DAEMON_DIRECTORY,
        run = node::DAEMON_RUN_DIR,
        containerd_run = node::CONTAINERD_RUN_DIR,
        gate = node::GATE,
    )
}

/// The guard: restarts kubelet when it runs on a proxy that no longer answers. The gate then decides what kubelet starts on.
#[must_use]
pub fn guard_unit() -> String {
    format!(
        "{MARKER}{NOTE}[Unit]
Description=Take kubelet off a runtime proxy that no longer answers

[Service]
Type=oneshot
ExecCondition={gate} guard
ExecStart=/bin/systemctl try-restart {kubelet}
TimeoutStartSec=60
LogLevelMax=notice
",
        gate = node::GATE,
        kubelet = node::KUBELET_UNIT,
    )
}

/// Runs the guard every ten seconds, counted from its last end: a proxy that hangs does not fail, so `OnFailure=` alone would not see it.
#[must_use]
pub fn guard_timer() -> String {
    format!(
        "{MARKER}{NOTE}[Unit]
Description=Watch the runtime proxy

[Timer]
OnActiveSec=10s
OnUnitInactiveSec=10s
AccuracySec=1s
Unit={guard}

[Install]
WantedBy=timers.target
",
        guard = node::GUARD_UNIT,
    )
}

/// The override of kubelet. The order matters: `rm` first makes it fail open (a gate that is missing or fails leaves no endpoint behind), and
/// with the file gone systemd hands the host's own `KUBELET_EXTRA_ARGS` to the gate.
#[must_use]
pub fn kubelet_override() -> String {
    format!(
        "{MARKER}{NOTE}[Service]
EnvironmentFile=-{env}
ExecStartPre=-/bin/rm -f {env}
ExecStartPre=-{gate} gate
",
        env = node::RUNTIME_ENV,
        gate = node::GATE,
    )
}

#[cfg(test)]
mod tests {
    use extension_config::names::node;

    use super::{DAEMON_DIRECTORY, configuration, daemon_unit, environment, guard_timer, guard_unit, kubelet_override};
    use crate::static_config::StaticConfig;

    #[test]
    fn environment_quotes_options_so_that_they_cannot_set_another_variable() {
        let text = environment(&StaticConfig::Fallback(String::new()), "--a=\"b c\" $X\nEVIL=1");
        insta::assert_snapshot!(text, @r#"
        # Written by gardener-extension-cri-resmgr; edits are undone.
        CONFIG_OPTIONS="--fallback-config /etc/cri-resmgr/fallback.cfg"
        EXTRA_OPTIONS="--a=\"b c\" \$X EVIL=1"
        "#);
        let text = environment(&StaticConfig::Force(String::new()), "");
        assert!(text.contains("CONFIG_OPTIONS=\"--force-config /etc/cri-resmgr/force.cfg\"\nEXTRA_OPTIONS=\"\"\n"));
    }

    #[test]
    fn a_configuration_file_has_the_text_unchanged_and_a_final_newline() {
        assert_eq!(
            configuration("policy:\n  Active: none"),
            "# Written by gardener-extension-cri-resmgr; edits are undone.\npolicy:\n  Active: none\n"
        );
    }

    #[test]
    fn directories_of_the_unit_equal_the_paths_in_names() {
        assert_eq!(node::DAEMON_RUN_DIR, format!("/run/{DAEMON_DIRECTORY}"));
        assert_eq!(node::DAEMON_STATE_DIR, format!("/var/lib/{DAEMON_DIRECTORY}"));
        assert!(node::CONTAINERD_SOCKET.starts_with(node::CONTAINERD_RUN_DIR));
    }

    #[test]
    fn units() {
        insta::assert_snapshot!(daemon_unit());
        insta::assert_snapshot!(guard_unit());
        insta::assert_snapshot!(guard_timer());
        insta::assert_snapshot!(kubelet_override());
    }
}
