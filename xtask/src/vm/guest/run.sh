# First process of the virtual machine once its disks are mounted; or a service, where systemd is that. Shows what this kernel
# can do, then runs each file of tests that /run/plan names, its output on the second serial port. What is to be known afterwards
# is written to the third disk, a line each; that all ran is said on the console, with how many failed: `EXIT n`.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin NO_COLOR=1 HOME=/root TMPDIR=/tmp RUST_BACKTRACE=0
export DRIFTLOCK_BIN=/driftlock/driftlock DRIFTLOCK_FIXTURES=/driftlock/fixtures DRIFTLOCK_BUSYBOX=/usr/bin/busybox
export DRIFTLOCK_NOT_ON_THIS_KERNEL=/run/results DRIFTLOCK_PATIENCE=3 DRIFTLOCK_RUNTIMES=docker
# systemd has done this.
if [ $$ -eq 1 ]; then
  mkdir -p /dev/pts /dev/shm /run/lock
  mount -t devpts -o ptmxmode=666 devpts /dev/pts
  mount -t tmpfs shm /dev/shm
  mount -t securityfs security /sys/kernel/security
  mount -t cgroup2 cgroup /sys/fs/cgroup
  mount -t tracefs tracing /sys/kernel/tracing
  mount -t bpf bpf /sys/fs/bpf
fi
ln -sf /proc/self/fd /dev/fd
# The kernel has AppArmor, the machine not its parser, without which the container runtime refuses to use it.
if [ -e /sys/module/apparmor/parameters/enabled ]; then
  echo N >/run/without-apparmor
  mount --bind /run/without-apparmor /sys/module/apparmor/parameters/enabled
fi
hostname guest
ip link set lo up
failed=0

# Has every program loaded, attached and tried.
doctor() {
  /driftlock/driftlock doctor --json >/run/doctor 2>/run/doctor.log
  status=$?
  # On one line, which no string in it can break: JSON escapes line breaks.
  echo "doctor $(tr '\n' ' ' </run/doctor)" >>/run/results
  [ $status -eq 0 ] || {
    echo "driftlock doctor failed on this kernel:"
    cat /run/doctor /run/doctor.log
    return 1
  }
}

keep() {
  dd if=/run/results of=/dev/vdc bs=64k conv=fsync 2>/dev/null
}

: >/run/results
{
  # A serial port has no width of its own, and forgets what it was told when nobody has it open.
  stty -F /dev/ttyS1 cols 160
  doctor || failed=$((failed + 1))
  keep
  while read -r name filters; do
    echo "vm: tests/$name.rs on $(uname -r), process 1 is $(cat /proc/1/comm)"
    began=$(cut -d. -f1 /proc/uptime)
    # shellcheck disable=SC2086  # filters are words
    /driftlock/tests/"$name" --test-threads=1 --color=never $filters
    status=$?
    [ $status -eq 0 ] || failed=$((failed + 1))
    echo "file $name $status $(($(cut -d. -f1 /proc/uptime) - began))" >>/run/results
    keep
  done </run/plan
} >/dev/ttyS1 2>&1 </dev/null
# On a line of its own, whatever the kernel is writing.
printf '\nEXIT %s\n' "$failed" >/dev/console
poweroff -f
