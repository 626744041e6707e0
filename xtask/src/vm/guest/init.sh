#!/bin/busybox sh
# First process of the virtual machine, in the root that the kernel unpacks: makes the disks' drivers known, mounts them and
# goes on there with what /first names. Whatever fails here is on the console, and the machine ends without a word about its tests.
exec </dev/console >/dev/console 2>&1
for applet in mkdir mount insmod cp sleep switch_root poweroff; do /bin/busybox ln -s busybox /bin/$applet; done
PATH=/bin
fail() {
  echo "init: $1"
  poweroff -f
}
mkdir -p /proc /sys /sysroot
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
  [ ! -e "$module" ] || insmod "$module" || fail "$module cannot be loaded"
done
waited=0
until [ -b /dev/vda ] && [ -b /dev/vdb ] && [ -b /dev/vdc ]; do
  waited=$((waited + 1))
  [ $waited -lt 30 ] || fail "the disks are not there"
  sleep 1
done
mount -t ext4 /dev/vda /sysroot || fail "the root cannot be mounted"
mount -t ext4 -o ro /dev/vdb /sysroot/driftlock || fail "what is tested cannot be mounted"
mount -t tmpfs run /sysroot/run
mount --move /proc /sysroot/proc
mount --move /sys /sysroot/sys
mount --move /dev /sysroot/dev
cp /plan /run.sh /sysroot/run/ || fail "there is no plan"
read -r first </first || fail "nobody said what goes on"
# shellcheck disable=SC2086  # a program and its words
exec switch_root /sysroot $first
