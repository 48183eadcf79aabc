#!/bin/sh
# Boots a systemd of its own in namespaces over an overlay of this machine, installs the package there and tries the unit:
# sandbox, start, frame, reload, watchdog, restart, stop. This machine's own files stay as they are.
# Needs root, overlayfs and a cgroup2. Usage: try.sh PACKAGE.deb SCENE.tif
set -eu
here=$(cd "$(dirname "$0")" && pwd)

boot() {  # in new namespaces: a root of our own, then systemd
    mount --make-rprivate /
    mount -t tmpfs -o size=3g tmpfs "$1/over"
    mkdir "$1/over/upper" "$1/over/work"
    root=$1/root
    mount -t overlay overlay -o "lowerdir=/,upperdir=$1/over/upper,workdir=$1/over/work" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    for folder in run dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    for node in null zero full random urandom tty; do
        touch "$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    mkdir "$root/dev/pts" "$root/dev/shm" "$root/tmp/try"
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s pts/ptmx "$root/dev/ptmx"  # PrivateDevices= asks for it
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
    mount --bind "$1/share" "$root/tmp/try"
    rm -rf "$root/var/lib/subsolar" "$root/etc/subsolar" "$root/etc/fstab"
    cat > "$root/etc/systemd/system/try.service" <<UNIT
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
Slice=system.slice
StandardOutput=append:/tmp/try/said
StandardError=append:/tmp/try/errors
ExecStart=/bin/sh /tmp/try/try.sh inside
ExecStopPost=/bin/systemctl --no-block exit
UNIT
    mkdir -p "$root/mnt/old"
    cd "$root"
    pivot_root . mnt/old
    umount -l /mnt/old
    exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=try.service
}

check() {  # check WORDS COMMAND…
    words=$1
    shift
    if "$@"; then echo "ok      $words"; else echo "FAILED  $words"; fi
}

of() { systemctl show subsolar --property="$1" --value; }
said() { subsolar status --json 2> /dev/null | grep -q "$1"; }
soon() {  # soon SECONDS COMMAND…: whether it holds within that time
    left=$(($1 * 5))
    shift
    until "$@"; do
        left=$((left - 1))
        if [ $left -le 0 ]; then return 1; fi
        sleep 0.2
    done
}
another() { pid=$(of MainPID); [ "$pid" != 0 ] && [ "$pid" != "$1" ] && said "\"pid\": $pid"; }
as_service() { nsenter -t "$main" -m -U --preserve-credentials -S "$user" -G "$user" "$@"; }
writes() { as_service sh -c "touch $1/probe && rm $1/probe" 2> /dev/null; }
reaches() {  # reaches ADDRESS CGROUP: from within that cgroup
    sh -c "echo \$\$ > /sys/fs/cgroup/system.slice/$2.service/cgroup.procs; exec python3 -c 'import socket
socket.create_connection((\"$1\", 4711), 2)'" 2> /dev/null
}
is() { [ "$1" = "$2" ]; }
no() { ! "$@"; }
line() { grep -q "$1" "/proc/$main/status"; }

inside() {
    ip link set lo up
    ip address add 192.0.2.1/32 dev lo
    systemctl start dbus.socket
    dpkg -i /tmp/try/*.deb > /dev/null
    mission=/etc/subsolar/mission.toml
    sed -i -e 's/^kind = "eps"/kind = "model"/' -e '/^path = .*eps.sock/d' -e 's/^start_utc.*/&\nslot_s = 5.0/' $mission
    mkdir -p /etc/systemd/system/subsolar.service.d
    printf '[Service]\nWatchdogSec=8\n' > /etc/systemd/system/subsolar.service.d/try.conf
    systemctl daemon-reload

    if ! systemctl start subsolar; then
        echo "FAILED  it starts"
        journalctl --unit=subsolar --no-pager >&2
        return
    fi
    check "it is active once it has said so" is "$(of ActiveState)" active
    main=$(of MainPID)
    user=$(id -u subsolar)
    check "no capability" line '^CapBnd:.*0000000000000000$'
    check "no new privileges" line '^NoNewPrivs:.*1$'
    check "system calls are filtered" line '^Seccomp:.*2$'
    check "users of its own" no is "$(readlink /proc/self/ns/user)" "$(readlink "/proc/$main/ns/user")"
    for folder in /var/lib/subsolar /run/subsolar /tmp; do check "it may write in $folder" writes $folder; done
    for folder in / /usr /etc/subsolar /etc/subsolar/keys /home /root /var/lib /dev /sys/kernel; do
        check "it may not write in $folder" no writes $folder
    done
    check "others do not see its /tmp" is "$(as_service sh -c 'ls /tmp')" ""
    python3 -m http.server 4711 > /dev/null 2>&1 &
    sleep 1
    check "another service reaches another address" reaches 192.0.2.1 try
    check "it reaches loopback" reaches 127.0.0.1 subsolar
    check "it reaches nothing else" no reaches 192.0.2.1 subsolar

    cp /tmp/try/*.tif /var/lib/subsolar/inbox/.scene.tif
    chown subsolar: /var/lib/subsolar/inbox/.scene.tif
    mv /var/lib/subsolar/inbox/.scene.tif /var/lib/subsolar/inbox/scene.tif
    check "a frame becomes products" soon 30 said '"done_tile": [1-9]'
    check "an operator of another group is refused" no setpriv --reuid=65534 --regid=65534 --clear-groups \
        sh -c 'subsolar status > /dev/null 2>&1; test $? = 0 -o $? = 3'
    check "an operator of its group is answered" setpriv --reuid=65534 --regid="$user" --clear-groups \
        sh -c 'subsolar status > /dev/null; test $? = 0 -o $? = 3'

    before=$(subsolar status --json | grep -o '"mission_sha256": "[0-9a-f]*"')
    sed -i 's/^minimum_score = 0.3/minimum_score = 0.4/' $mission
    check "a reload of a good file" systemctl reload subsolar
    check "takes it" soon 10 no said "$before"
    after=$(subsolar status --json | grep -o '"mission_sha256": "[0-9a-f]*"')
    echo 'nonsense = 1' >> $mission
    check "a reload of a bad file fails" no systemctl reload subsolar 2> /dev/null
    check "says why" soon 10 said 'reload refused: .*nonsense'
    check "keeps the last good one" said "$after"
    check "and the process" is "$(of MainPID) $(of ActiveState)" "$main active"
    sed -i '/^nonsense/d' $mission
    check "the file mended" systemctl reload subsolar
    check "nothing is refused any more" soon 10 no said 'reload refused'

    kill -STOP "$main"
    check "a process that hangs is started anew" soon 40 another "$main"
    main=$(of MainPID)
    kill -KILL "$main"
    check "one that was killed, too" soon 20 another "$main"
    began=$(date +%s%N)
    systemctl stop subsolar
    check "it stops within 5 s" [ $((($(date +%s%N) - began) / 1000000)) -lt 5000 ]
    check "and as one that was told to" is "$(of Result)" success
    echo end
}

case $1 in
    inside) inside ;;
    boot) boot "$2" ;;
    *)
        folder=$(mktemp -d)
        trap 'rm -rf --one-file-system "$folder"' EXIT
        mkdir "$folder/over" "$folder/root" "$folder/share"
        cp "$1" "$2" "$here/try.sh" "$folder/share/"
        timeout -s KILL 300 unshare --mount --pid --fork --uts --ipc --cgroup --net --kill-child \
            sh "$here/try.sh" boot "$folder" || true
        cat "$folder/share/said" 2> /dev/null || echo "systemd did not start here"
        if [ "$(tail -n 1 "$folder/share/said" 2> /dev/null)" != end ] || grep -q ^FAILED "$folder/share/said"; then
            cat "$folder/share/errors" 2> /dev/null
            exit 1
        fi
        ;;
esac
