//! The unit of a policy of nri-plugins.

use extension_config::names::node;
use nri_policy::Kind;

use super::NOTE;
use crate::entry::MARKER;

/// The policy's unit.
///
/// `Before=` and `ExecStartPost=` make the first kubelet start of a boot wait until the policy is registered, or for as long as the gate waits at most;
/// nothing makes kubelet *need* it. There is no start limit: without containerd's socket it ends at once, again and again, for as long as containerd is away.
///
/// `LoadCredential=` hands each run a copy of the document in a directory of its own: the policy watches the directory of its document, and a change that it
/// takes over while it runs is the one thing that can hang containerd (containerd/nri#299). So the file may be written at any time; what counts is a restart.
///
/// Its pid file has the name that its process is called by and lies in `/run`, whatever `--pid-file` says (pkg/pidfile of v0.14.0): so `/run` is a directory
/// of its own, in which the host sees it; the gate looks from the host (`+`). Its state is where the runtime finds it: directories in it are mounted into containers. `--host-root` stays
/// empty, so that it takes the host's `/sys` and `/proc`.
///
/// It writes to its two directories, and where a policy sets CPU frequencies, interrupts' CPUs and resctrl groups. containerd sets the CPUs of
/// containers, not the policy.
#[must_use]
pub fn plugin_unit(kind: Kind) -> String {
    format!(
        "{MARKER}{NOTE}[Unit]
Description=NRI resource policy ({kind})
Documentation=https://containers.github.io/nri-plugins/
After={containerd}
Before={kubelet}
StartLimitIntervalSec=0

[Service]
Type=simple
LoadCredential=policy.yaml:{config}
ExecStart=@{program} {name} --config-file ${{CREDENTIALS_DIRECTORY}}/policy.yaml --nri-socket {socket} --nri-plugin-index 90 \
         --state-dir {state}
ExecStartPost=-+{gate} wait-for-plugin
Restart=always
RestartSec=2
TimeoutStartSec=60
TimeoutStopSec=10
OOMScoreAdjust=-999
LogRateLimitIntervalSec=10
LogRateLimitBurst=1000
RuntimeDirectory={name}
RuntimeDirectoryMode=0711
StateDirectory={state_name}
StateDirectoryMode=0710
BindPaths={run}:/run
BindReadOnlyPaths=-{nri}
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ReadOnlyPaths=-/proc/sys -/proc/sysrq-trigger /sys
ReadWritePaths=-/sys/fs/resctrl -/sys/devices/system
DeviceAllow=char-* rw
CapabilityBoundingSet=~CAP_MKNOD CAP_NET_ADMIN CAP_NET_RAW CAP_SETPCAP CAP_SYS_BOOT CAP_SYS_MODULE CAP_SYS_PTRACE CAP_SYS_TIME
NoNewPrivileges=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
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
        config = node::PLUGIN_CONFIG,
        program = node::PLUGIN,
        name = node::PLUGIN_NAME,
        socket = node::NRI_SOCKET,
        state = node::PLUGIN_STATE_DIR,
        state_name = STATE_NAME,
        gate = node::GATE,
        run = node::PLUGIN_RUN_DIR,
        nri = node::NRI_RUN_DIR,
    )
}

/// Of its state below `/var/lib`.
const STATE_NAME: &str = "nri-resource-policy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_s_directories_are_those_that_the_others_know() {
        assert_eq!(node::PLUGIN_RUN_DIR, format!("/run/{}", node::PLUGIN_NAME));
        assert_eq!(node::PLUGIN_PID_FILE, format!("{}/{}.pid", node::PLUGIN_RUN_DIR, node::PLUGIN_NAME));
        assert_eq!(node::PLUGIN_STATE_DIR, format!("/var/lib/{STATE_NAME}"));
        assert_eq!(node::PLUGIN_BOOKS, format!("{}/cache", node::PLUGIN_STATE_DIR));
        assert_eq!(node::PLUGIN_UNIT, format!("{}.service", node::PLUGIN_NAME));
        assert!(node::NRI_SOCKET.starts_with(node::NRI_RUN_DIR));
    }

    #[test]
    fn unit_of_the_plugin() {
        insta::assert_snapshot!(plugin_unit(Kind::BalloonsPolicy));
    }
}
