# A program that was dropped into a container's upper layer is killed before its first instruction, each time; a
# program of the image is not. Without the agent both run: the container is one in which the attack works.
ROUNDS=1000
lower=/srv/lower
alerts=/tmp/alerts
log=/tmp/agent.log

fail() {
  echo "$1"
  echo "the agent's log:"
  tail -n 30 "$log"
  exit 1
}

image() {
  mkdir -p $lower/bin $lower/tmp $lower/old /srv/upper /srv/work /srv/root
  cp /bin/busybox $lower/bin/
  for name in sh cp touch; do ln -s busybox $lower/bin/$name; done
  cat >$lower/attack.sh <<'S'
cp /bin/busybox /tmp/touch
round=0
killed=0
while [ $round -lt $1 ]; do
  round=$((round + 1))
  /tmp/touch /dropped-ran 2>/tmp/words
  [ $? -ne 137 ] || killed=$((killed + 1))
done
echo $killed >/killed
/bin/touch /image-ran
S
  cat >/srv/start.sh <<'S'
# As a container runtime: join the cgroup, take the container's root, become its first process.
echo $$ >"$1/cgroup.procs"
mount --make-rprivate /
cd /srv/root && pivot_root . old && exec chroot . /bin/sh -c "exec /bin/sh /attack.sh $2"
S
}

# Runs a container whose cgroup has a name of 64 hexadecimal digits, as runtimes name theirs.
container() {
  rm -rf /srv/upper /srv/work
  mkdir /srv/upper /srv/work
  mount -t overlay -o lowerdir=$lower,upperdir=/srv/upper,workdir=/srv/work overlay /srv/root ||
    fail "no overlay can be mounted"
  cgroup=/sys/fs/cgroup/containers/$1$1$1$1$1$1$1$1
  mkdir -p "$cgroup"
  unshare -m -p -f sh /srv/start.sh "$cgroup" $ROUNDS
  umount /srv/root
  rmdir "$cgroup"
  echo "$2: $(cat /srv/upper/killed) of $ROUNDS killed, left behind: $(ls /srv/upper | tr '\n' ' ')"
  [ -e /srv/upper/image-ran ] || fail "$2: the image's own program did not run"
}

: >$log
image
container 0123abcd "without the agent"
[ -e /srv/upper/dropped-ran ] || fail "without the agent the dropped program did not run: the test proves nothing"

mkdir -p /etc/driftlock
echo 'policies: { unprofiled: deny-drift }' >/etc/driftlock/config.yaml
driftlock run >$log 2>&1 &
agent=$!
waited=0
until driftlock status >/tmp/status 2>&1; do
  waited=$((waited + 1))
  [ $waited -lt 60 ] || fail "the agent did not answer within 60 s"
  kill -0 $agent || fail "the agent ended"
  sleep 1
done

container 4567cdef "with the agent"
[ ! -e /srv/upper/dropped-ran ] || fail "the dropped program ran"
[ "$(cat /srv/upper/killed)" = $ROUNDS ] || fail "not every start was killed"

waited=0
until driftlock alerts --json >$alerts && grep -q '"kind":"exec.drift".*"taken":"killed","confirmed":true' $alerts; do
  waited=$((waited + 1))
  [ $waited -lt 20 ] || fail "no alert about it: $(cat $alerts)"
  sleep 1
done
grep -q '"layer":"upper","path":"/tmp/touch"' $alerts || fail "the alert is about something else: $(cat $alerts)"

kill $agent
wait $agent || fail "the agent ended with status $?"
