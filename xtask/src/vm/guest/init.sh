#!/bin/busybox sh
# First process of the virtual machine. Runs /tests/*.sh in order, their output on the second serial port, and says on
# the console how many failed: `EXIT n`.
if [ "$1" != second ]; then
  # The root that the kernel unpacks cannot be pivoted away from, as container runtimes do.
  /bin/busybox mkdir /sysroot
  /bin/busybox mount -t tmpfs root /sysroot
  for name in bin dev etc init modules proc run sys tests tmp var; do /bin/busybox cp -a /$name /sysroot/; done
  /bin/busybox mount -t devtmpfs dev /sysroot/dev
  exec /bin/busybox switch_root /sysroot /init second
fi
/bin/busybox --install -s /bin
export PATH=/bin NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t securityfs security /sys/kernel/security
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tracefs tracing /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
for module in /modules/*.ko; do
  [ ! -e "$module" ] || insmod "$module"
done
failed=0
{
  # A serial port has no width of its own, and forgets what it was told when nobody has it open.
  stty -F /dev/ttyS1 cols 160
  for test in /tests/*.sh; do
    name=${test##*/}
    name=${name%.sh}
    name=${name#*-}
    echo "test $name on $(uname -r)"
    if sh -u "$test"; then
      echo "test $name: passed"
    else
      echo "test $name: FAILED ($?)"
      failed=$((failed + 1))
    fi
  done
} >/dev/ttyS1 2>&1 </dev/null
# On a line of its own, whatever the kernel is writing.
printf '\nEXIT %s\n' "$failed" >/dev/console
poweroff -f
