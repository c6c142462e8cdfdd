#!/bin/bash
# PID 1 of namespaces of its own turns into systemd, on a root that is this machine's with a tmpfs on top:
# whatever is written in here is gone afterwards, and nothing outside is changed.  machine.py runs it.
#
#   become_pid_1.sh STAGE CHECKOUT PYTHON SITE
#
# STAGE is an empty directory; CHECKOUT, PYTHON (a sys.base_prefix) and SITE (a site-packages) are seen read-only in
# /opt, because the unit hides home directories, where they usually are.
set -eu
stage=$1 checkout=$2 python=$3 site=$4
root=$stage/root

quietly() { mount -n "$@"; } # -n: no /run/mount/utab, which would be the host's

quietly --make-rprivate /
quietly -t tmpfs tmpfs "$stage"
mkdir "$stage"/{upper,work,root}
quietly -t overlay overlay -o "lowerdir=/,upperdir=$stage/upper,workdir=$stage/work" "$root"

show() { # SOURCE NAME: read-only as /opt/NAME
    mkdir -p "$root/opt/$2"
    quietly --bind "$1" "$root/opt/$2"
    quietly -o remount,bind,ro "$root/opt/$2"
}
show "$checkout" checkout
show "$python" python
show "$site" site

# File systems of the kernel.  With a writable /proc/sys systemd would set limits of the whole machine.
quietly -t proc proc "$root/proc"
quietly --bind "$root/proc/sys" "$root/proc/sys"
quietly -o remount,bind,ro "$root/proc/sys"
[ ! -e "$root/proc/sysrq-trigger" ] || quietly --bind /dev/null "$root/proc/sysrq-trigger"
quietly -t sysfs -o ro sysfs "$root/sys"
quietly -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for each in run tmp dev; do quietly -t tmpfs -o mode=755 tmpfs "$root/$each"; done
chmod 1777 "$root/tmp"
for each in "null 3" "zero 5" "full 7" "random 8" "urandom 9"; do
    mknod -m 666 "$root/dev/${each% *}" c 1 "${each#* }"
done
mkdir "$root"/dev/{shm,pts} # PrivateDevices= gives both on to the service
chmod 1777 "$root/dev/shm"
quietly -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# Only what the test needs is started: the whiteouts of these are in the tmpfs.
rm -rf "$root"/etc/systemd/system "$root"/usr/lib/systemd/system/*.{wants,requires} \
    "$root"/usr/lib/systemd/system-generators "$root"/etc/systemd/system-generators
mkdir -p "$root"/etc/systemd/system "$root"/etc/systemd/journald.conf.d
cat > "$root/etc/systemd/system/test.target" <<END
[Unit]
Description=What the test needs
Wants=systemd-journald.service
AllowIsolate=yes
END
printf '[Journal]\nStorage=volatile\nAudit=no\nRateLimitBurst=0\n' > "$root/etc/systemd/journald.conf.d/test.conf"
: > "$root/etc/fstab"
hostname systemd-test

# A Python environment at an ordinary place; the interpreter may have been moved away from its libpython.
version=$(basename "$(dirname "$site")")
prefix=$root/opt/shardproxy
mkdir -p "$prefix/bin" "$prefix/lib/$version/site-packages"
printf 'home = /opt/python/bin\n' > "$prefix/pyvenv.cfg"
ln -s "/opt/python/bin/$version" "$prefix/bin/python"
printf '/opt/checkout\n/opt/site\n' > "$prefix/lib/$version/site-packages/test.pth"
printf '#!/opt/shardproxy/bin/python\nfrom shardproxy.cli import main\nmain()\n' > "$prefix/bin/shardproxy"
chmod 755 "$prefix/bin/shardproxy"
echo /opt/python/lib > "$root/etc/ld.so.conf.d/test.conf"
chroot "$root" ldconfig

cd "$root"
mkdir .former
pivot_root . .former
umount -l /.former
rmdir /.former
# In a container this is left to whoever starts systemd; the mounts of services would not reach them otherwise.
quietly --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin LANG=C.UTF-8 \
    setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog \
    /lib/systemd/systemd --system --unit=test.target --log-target=journal-or-kmsg --show-status=no
