#!/bin/sh
# First process of the virtual machine: puts the host's files, read-only, below a disk for all that is written. No program is
# here but busybox. /modules names what the kernel needs for these mounts, /cache the host's cache folder.
set -eu
cache=$(busybox cat /cache)
busybox mount -t devtmpfs dev /dev
while read -r module; do
    busybox insmod "$module"
done </modules
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=loose,ro host /host
busybox mount -t ext4 -o noatime /dev/vda /disk
busybox mkdir -p /disk/upper /disk/work /disk/beds
busybox mount -t overlay -o lowerdir=/host,upperdir=/disk/upper,workdir=/disk/work overlay /new
# An overlay takes no other for its upper part, and beds are full of them: they lie on the disk itself. So do the files of
# workers, which came with it.
for dir in node beds; do
    busybox mkdir -p "/new$cache/$dir"
done
busybox mount --bind /disk "/new$cache/node"
busybox mount --bind /disk/beds "/new$cache/beds"
busybox mkdir -p /new/lib/modules
busybox mount --bind "/host$cache/vm/kernel/lib/modules" /new/lib/modules
busybox cp /enter.sh /job.sh /new/
busybox mount --move /dev /new/dev
exec busybox switch_root /new /bin/busybox sh /enter.sh
