#!/bin/sh
# Boots a folder as a machine with systemd inside, with a control-group tree of its own: on a host with cgroup v1 every
# machine would else see, and tidy up, the host's groups and those of its neighbours.
#
# usage: boot.sh GROUP ROOT MACHINE [further arguments of systemd-nspawn]
set -eu
group=$1 root=$2 machine=$3
shift 3

run() {
    SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 exec systemd-nspawn --directory="$root" --boot --register=no --keep-unit --machine="$machine" \
        --console=pipe --resolv-conf=off --capability=all --system-call-filter='@keyring @mount bpf perf_event_open' \
        --bind=/dev/kmsg "$@" </dev/null
}

# cgroup v2: below our group, systemd-nspawn makes one of its own for the machine, with a namespace that shows no more.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    read -r controllers </sys/fs/cgroup/cgroup.controllers
    for controller in $controllers; do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || echo "no controller $controller for machines" >&2
    done
    mkdir -p "/sys/fs/cgroup/$group"
    echo $$ >"/sys/fs/cgroup/$group/cgroup.procs"
    run "$@"
fi

if [ "${BOOT_STAGE:-outer}" = outer ]; then
    while read -r _ dir type _; do
        case $type in cgroup | cgroup2) ;; *) continue ;; esac
        mkdir -p "$dir/$group"
        # A new cpuset group of cgroup v1 takes no process before it has CPUs and memory nodes.
        if [ -e "$dir/$group/cpuset.mems" ] && [ -e "$dir/cpuset.mems" ]; then
            cat "$dir/cpuset.cpus" >"$dir/$group/cpuset.cpus"
            cat "$dir/cpuset.mems" >"$dir/$group/cpuset.mems"
        fi
        echo $$ >"$dir/$group/cgroup.procs"
    done </proc/mounts
    BOOT_STAGE=inner exec unshare --cgroup --mount --propagation slave "$0" "$group" "$root" "$machine" "$@"
fi

unset BOOT_STAGE
mounts=$(cat /proc/mounts)
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
echo "$mounts" | while read -r _ dir type options _; do
    case $type in
    cgroup)
        mkdir -p "$dir"
        controllers=$(echo "$options" | tr , '\n' | grep -vE '^(rw|ro|relatime|nosuid|nodev|noexec)$' | paste -sd, -)
        mount -t cgroup -o "$controllers" cgroup "$dir"
        ;;
    cgroup2)
        mkdir -p "$dir"
        mount -t cgroup2 cgroup2 "$dir"
        ;;
    esac
done

run --bind=/sys/fs/cgroup "$@"
