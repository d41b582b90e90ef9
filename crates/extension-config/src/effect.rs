//! What a change of a field of the providerConfig does on nodes: `x-effect` in the schema, and a column of `docs/provider-config.md`.

/// It only says what the rest is.
pub(crate) const NOTHING: &str = "nothing";
/// Of the configurations that the daemon reads when it starts.
pub(crate) const DAEMON: &str = "the daemon is restarted, a tenth of the nodes at a time; kubelet and pods are not. Where it does not prove itself, the one before is put back";
/// Of those that it is given while it runs.
pub(crate) const PUSH: &str = "pushed to running daemons, without a restart; another policy, or less in a sticky key, restarts the daemon once. Kubelet and pods are not restarted";
/// Of who gets a backend at all.
pub(crate) const SELECTION: &str = "nodes that become selected are switched on, a tenth at a time; those that no longer are, are made clean. With `cri-resmgr` each costs one \
     restart of kubelet, with `nri-plugins` none";
/// Of the backend.
pub(crate) const BACKEND: &str = "nodes that have the other backend hold, and say so, until `migration.from` names it; then they go over, each with one restart of kubelet and \
     none of a pod";
/// Of the backend that is left.
pub(crate) const FROM: &str = "nodes that have that backend go over; it may stay when all have";
/// Of what the owner accepts to lose with it.
pub(crate) const ACCEPT: &str = "nodes that were held by what it names go over";
/// Of policies of nri-plugins.
pub(crate) const POLICY: &str = "the policy is restarted once on each node that it is for, a tenth at a time; running containers are placed anew. Kubelet, containerd and pods are not restarted";
/// Of what such a policy consists of.
pub(crate) const OF_THE_POLICY: &str = "as for the policy";
