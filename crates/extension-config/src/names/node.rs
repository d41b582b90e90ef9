//! Paths on the host, as the host sees them. None may change between versions without a migration: the journal of an older agent names them.

/// The daemon, from the payload.
pub const DAEMON: &str = "/opt/intel/bin/cri-resmgr";
/// Directory of everything that we put below `/opt` besides the daemon.
pub const GATE_DIR: &str = "/opt/gardener-extension-cri-resmgr/bin";
/// The gate that decides at each kubelet start.
pub const GATE: &str = "/opt/gardener-extension-cri-resmgr/bin/runtime-gate";
/// The daemon that ran before an upgrade, until the new one is proven.
pub const KEPT_DAEMON: &str = "/opt/gardener-extension-cri-resmgr/bin/cri-resmgr.before";

/// Directory of the daemon's static configuration.
pub const CONFIG_DIR: &str = "/etc/cri-resmgr";
/// Configuration that the daemon takes when it has none cached.
pub const FALLBACK_CONFIG: &str = "/etc/cri-resmgr/fallback.cfg";
/// Configuration that overrules every other.
pub const FORCE_CONFIG: &str = "/etc/cri-resmgr/force.cfg";
/// Environment file of the daemon's unit: `CONFIG_OPTIONS`, `EXTRA_OPTIONS`.
pub const ENVIRONMENT_FILE: &str = "/etc/default/cri-resource-manager";

/// Directory of the units that we write.
pub const UNIT_DIR: &str = "/etc/systemd/system";
/// Name of the daemon's unit.
pub const DAEMON_UNIT: &str = "cri-resource-manager.service";
/// File of the daemon's unit.
pub const DAEMON_UNIT_FILE: &str = "/etc/systemd/system/cri-resource-manager.service";
/// Link that enables the daemon's unit.
pub const DAEMON_UNIT_LINK: &str = "/etc/systemd/system/multi-user.target.wants/cri-resource-manager.service";
/// Name of the guard's service.
pub const GUARD_UNIT: &str = "cri-resource-manager-guard.service";
/// File of the guard's service.
pub const GUARD_UNIT_FILE: &str = "/etc/systemd/system/cri-resource-manager-guard.service";
/// Name of the guard's timer.
pub const GUARD_TIMER: &str = "cri-resource-manager-guard.timer";
/// File of the guard's timer.
pub const GUARD_TIMER_FILE: &str = "/etc/systemd/system/cri-resource-manager-guard.timer";
/// Link that enables the guard's timer.
pub const GUARD_TIMER_LINK: &str = "/etc/systemd/system/timers.target.wants/cri-resource-manager-guard.timer";

/// Name of kubelet's unit.
pub const KUBELET_UNIT: &str = "kubelet.service";
/// Name of containerd's unit.
pub const CONTAINERD_UNIT: &str = "containerd.service";
/// Directory of our override of kubelet. In `system.control`, because gardener-node-agent deletes `kubelet.service.d` of `/etc/systemd/system`.
pub const KUBELET_DROP_IN_DIR: &str = "/etc/systemd/system.control/kubelet.service.d";
/// Our override of kubelet.
pub const KUBELET_DROP_IN: &str = "/etc/systemd/system.control/kubelet.service.d/90-cri-resmgr.conf";

/// Directory of what lives until the next boot.
pub const RUN_DIR: &str = "/run/gardener-extension-cri-resmgr";
/// Written by the gate at each kubelet start: `KUBELET_EXTRA_ARGS=…`.
pub const RUNTIME_ENV: &str = "/run/gardener-extension-cri-resmgr/runtime.env";
/// Host lock of the agent.
pub const LOCK: &str = "/run/gardener-extension-cri-resmgr/lock";
/// What the agent has pushed to the running daemon, for the next agent.
pub const DYNAMIC_MEMORY: &str = "/run/gardener-extension-cri-resmgr/dynamic.json";
/// Directory of what outlives a boot.
pub const STATE_DIR: &str = "/var/lib/gardener-extension-cri-resmgr";
/// Journal: what we made, the phase, recent kubelet restarts.
pub const JOURNAL: &str = "/var/lib/gardener-extension-cri-resmgr/journal.json";

/// The daemon's directory of sockets.
pub const DAEMON_RUN_DIR: &str = "/run/cri-resmgr";
/// The daemon's state.
pub const DAEMON_STATE_DIR: &str = "/var/lib/cri-resmgr";
/// The daemon's pid file, of daemons that earlier versions of ours (or others) have started: ours of today has a `/run` of its own.
pub const DAEMON_PID_FILE: &str = "/run/cri-resmgr.pid";
/// What stood at [`DAEMON_STATE_DIR`] before us; put back at removal.
pub const ASIDE_STATE_DIR: &str = "/var/lib/cri-resmgr.before-gardener-extension-cri-resmgr";
/// What stood at [`DAEMON_RUN_DIR`] before us; put back at removal.
pub const ASIDE_RUN_DIR: &str = "/run/cri-resmgr.before-gardener-extension-cri-resmgr";
/// What stood at [`DAEMON_PID_FILE`] before us; put back at removal.
pub const ASIDE_PID_FILE: &str = "/run/cri-resmgr.pid.before-gardener-extension-cri-resmgr";
/// What kubelet connects to when the proxy is used.
pub const RELAY_SOCKET: &str = "/run/cri-resmgr/cri-resmgr.sock";
/// Where the daemon serves its `Config` service.
pub const CONFIG_SOCKET: &str = "/run/cri-resmgr/cri-resmgr-config.sock";
/// Where the daemon looks for its agent.
pub const AGENT_SOCKET: &str = "/run/cri-resmgr/cri-resmgr-agent.sock";
/// containerd's directory of sockets.
pub const CONTAINERD_RUN_DIR: &str = "/run/containerd";
/// containerd's socket: what kubelet uses without the proxy, and what the proxy passes on to.
pub const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
/// The argument that the gate gives to kubelet when the proxy answers.
pub const KUBELET_ENDPOINT_ARGUMENT: &str = "--container-runtime-endpoint=unix:///run/cri-resmgr/cri-resmgr.sock";

/// The policy of nri-plugins that runs, from the payload.
pub const PLUGIN: &str = "/opt/gardener-extension-cri-resmgr/bin/nri-resource-policy";
/// The policy's program that ran before an upgrade, until the new one is proven.
pub const KEPT_PLUGIN: &str = "/opt/gardener-extension-cri-resmgr/bin/nri-resource-policy.before";
/// A program that is tried out before it takes the place of the one that runs.
pub const TRIED_PLUGIN: &str = "/opt/gardener-extension-cri-resmgr/bin/nri-resource-policy.tried";
/// Directory of the policy's document.
pub const PLUGIN_CONFIG_DIR: &str = "/etc/cri-resmgr-nri-policy";
/// The policy's document. The unit hands a copy of it to each run of the policy, which would take over a change of this file while it runs.
pub const PLUGIN_CONFIG: &str = "/etc/cri-resmgr-nri-policy/policy.yaml";
/// Name of the policy's unit, without its ending: also what its process is called, which names its pid file.
pub const PLUGIN_NAME: &str = "cri-resmgr-nri-policy";
/// Name of the policy's unit.
pub const PLUGIN_UNIT: &str = "cri-resmgr-nri-policy.service";
/// File of the policy's unit.
pub const PLUGIN_UNIT_FILE: &str = "/etc/systemd/system/cri-resmgr-nri-policy.service";
/// Link that enables the policy's unit.
pub const PLUGIN_UNIT_LINK: &str = "/etc/systemd/system/multi-user.target.wants/cri-resmgr-nri-policy.service";
/// Name of the unit that tries out a policy before it runs.
pub const TRIAL_UNIT: &str = "cri-resmgr-nri-policy-trial.service";
/// Name of the unit that reads the node's journal when somebody asks for it.
pub const HOST_LOG_UNIT: &str = "cri-resmgr-host-log.service";
/// What a trial has printed.
pub const TRIAL_OUTPUT: &str = "/run/gardener-extension-cri-resmgr/nri-policy-trial.log";
/// The policy's state: its books, and a directory for each container that is mounted into it.
pub const PLUGIN_STATE_DIR: &str = "/var/lib/nri-resource-policy";
/// What stood at [`PLUGIN_STATE_DIR`] before us; put back at removal.
pub const ASIDE_PLUGIN_STATE_DIR: &str = "/var/lib/nri-resource-policy.before-gardener-extension-cri-resmgr";
/// The policy's books.
pub const PLUGIN_BOOKS: &str = "/var/lib/nri-resource-policy/cache";
/// Directory that the policy sees as `/run`.
pub const PLUGIN_RUN_DIR: &str = "/run/cri-resmgr-nri-policy";
/// What stood at [`PLUGIN_RUN_DIR`] before us; put back at removal.
pub const ASIDE_PLUGIN_RUN_DIR: &str = "/run/cri-resmgr-nri-policy.before-gardener-extension-cri-resmgr";
/// The policy's pid file: written when it has registered.
pub const PLUGIN_PID_FILE: &str = "/run/cri-resmgr-nri-policy/cri-resmgr-nri-policy.pid";
/// Directory of containerd's socket for plugins.
pub const NRI_RUN_DIR: &str = "/run/nri";
/// containerd's socket for plugins.
pub const NRI_SOCKET: &str = "/run/nri/nri.sock";
/// Where upstream's DaemonSet of the policies keeps its sockets.
pub const FOREIGN_PLUGIN_RUN_DIR: &str = "/run/nri-resource-policy";
