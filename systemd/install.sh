#!/bin/sh
# Install the units, the user and the directories of shardproxy, and nothing else: nothing is enabled or started.
#
#     systemd/install.sh PREFIX            PREFIX/bin/shardproxy is the installed program
#     DESTDIR=/pkg systemd/install.sh /usr for a package: below /pkg, and without touching this system
set -eu

prefix=${1:?usage: [DESTDIR=/pkg] systemd/install.sh PREFIX}
root=${DESTDIR:-}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

case $prefix in
/*) ;;
*) echo "PREFIX must be an absolute path, not $prefix" >&2; exit 2 ;;
esac
case $prefix in
*[!A-Za-z0-9/._+-]*) echo "PREFIX has characters that a unit file would not take literally: $prefix" >&2; exit 2 ;;
/home/* | /root/*) echo "PREFIX must not be in a home directory: the unit hides those (ProtectHome=)" >&2; exit 2 ;;
esac

# What comes with the program goes below /usr/lib if the program does, else to the administrator's own place.
case $prefix in
/usr) units=/usr/lib/systemd/system users=/usr/lib/sysusers.d files=/usr/lib/tmpfiles.d ;;
*) units=/etc/systemd/system users=/etc/sysusers.d files=/etc/tmpfiles.d ;;
esac

put() { # FILE DIRECTORY NAME
    mkdir -p "$root$2"
    sed "s|@PREFIX@|$prefix|g" "$here/$1" > "$root$2/$3.new"
    chmod 644 "$root$2/$3.new"
    mv "$root$2/$3.new" "$root$2/$3"
    echo "$root$2/$3"
}

put shardproxy.service "$units" shardproxy.service
put shardproxy.socket "$units" shardproxy.socket
put shardproxy.sysusers "$users" shardproxy.conf
put shardproxy.tmpfiles "$files" shardproxy.conf
for dropin in "$here"/dropins/*.conf; do
    put "dropins/${dropin##*/}" "$prefix/share/shardproxy/dropins" "${dropin##*/}"
done

[ -z "$root" ] || exit 0
systemd-sysusers "$users/shardproxy.conf"
systemd-tmpfiles --create "$files/shardproxy.conf"
[ ! -d /run/systemd/system ] || systemctl daemon-reload
[ -x "$prefix/bin/shardproxy" ] || echo "there is no $prefix/bin/shardproxy yet" >&2
[ -e /etc/shardproxy/shardproxy.yaml ] || echo "write /etc/shardproxy/shardproxy.yaml, then: systemctl enable --now shardproxy"
