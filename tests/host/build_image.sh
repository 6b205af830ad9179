#!/usr/bin/env bash
# Builds the virtual machine's disk: build_image.sh SUITE DIRECTORY, as root, about five minutes.
#
# Leaves in DIRECTORY: disk.raw (ext4, no partition table), vmlinuz, initrd.img, id_ed25519. Packages come from the
# mirror in this machine's own apt sources; the finished guest never needs one. Nothing stays mounted, also on failure.
set -euo pipefail

suite=$1
out=$2
work=$out.work
root=$work/root
kept=$(realpath -m "${out%/*}")/packages-$suite
export PATH=$PATH:/usr/sbin:/sbin

say() { printf '  image: %s\n' "$*"; }

# The first archive of the suite's distribution that apt itself uses, in either format of sources.
mirror() {
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk '$3 == "main" && $2 !~ /security|updates|backports/ && $1 ~ /debian\/?$/ { print $1; exit }'
}

clean() {
  umount -q "$root/proc" "$root/sys" 2>/dev/null || true
  rm -rf --one-file-system "$work"
}
trap clean EXIT

# init and login · what the agent needs · what the tests drive · what a disk needs to boot
packages=(
  systemd systemd-sysv udev dbus libpam-systemd openssh-server
  python3 python3-venv docker.io docker-registry podman crun catatonit apparmor iptables ca-certificates
  procps iproute2 util-linux stress-ng strace nginx postgresql curl openssl jq busybox-static less
  linux-image-cloud-amd64 initramfs-tools kmod e2fsprogs
)
[ "$suite" = bookworm ] || packages+=(docker-cli)

bootstrap() {
  local source
  source=$(mirror)
  [ -n "$source" ] || { echo "apt names no Debian archive here: the image has nothing to be built from" >&2; exit 1; }
  mkdir -p "$root" "$kept"
  debootstrap --variant=minbase --cache-dir="$kept" "$suite" "$root" "$source" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 30 "$work/debootstrap.log" >&2; exit 1; }
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  # Nothing may start in the chroot: it would run on this machine.
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod 755 "$root/usr/sbin/policy-rc.d"
}

# The bulk comes through apt: debootstrap cannot order packages that depend on each other in a circle.
install_packages() {
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  printf 'MODULES=list\nCOMPRESS=gzip\n' >"$root/etc/initramfs-tools.conf.tests"
  mkdir -p "$root/etc/initramfs-tools/conf.d"
  mv "$root/etc/initramfs-tools.conf.tests" "$root/etc/initramfs-tools/conf.d/tests"
  cp -n "$kept"/*.deb "$root/var/cache/apt/archives/" || true
  {
    chroot "$root" apt-get update -q
    # Without fsync: a build that is cut off starts anew.
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -q -y --no-install-recommends \
      -o Dpkg::Options::=--force-unsafe-io "${packages[@]}"
  } >"$work/apt.log" 2>&1 || { tail -n 40 "$work/apt.log" >&2; exit 1; }
  cp -n "$root"/var/cache/apt/archives/*.deb "$kept/"
  # The archive's line would name the mirror in the image; the guest reaches none.
  : >"$root/etc/apt/sources.list"
  : >"$root/etc/resolv.conf"
  rm "$root/usr/sbin/policy-rc.d"
}

settle() {
  echo host-under-test >"$root/etc/hostname"
  printf '127.0.0.1 localhost host-under-test\n' >"$root/etc/hosts"
  printf '/dev/vda / ext4 defaults,noatime 0 1\n' >"$root/etc/fstab"
  : >"$root/etc/machine-id"
  mkdir -p "$root/etc/systemd/network" "$root/root/.ssh" "$root/etc/systemd/journald.conf.d"
  printf '[Match]\nName=en*\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/10-loopback.network"
  # The journal has to survive the reboots that the tests make.
  printf '[Journal]\nStorage=persistent\n' >"$root/etc/systemd/journald.conf.d/10-kept.conf"
  ssh-keygen -q -t ed25519 -N '' -C tests -f "$work/id_ed25519"
  install -m 600 "$work/id_ed25519.pub" "$root/root/.ssh/authorized_keys"
  printf 'UseDNS no\nMaxSessions 50\nMaxStartups 50\n' >"$root/etc/ssh/sshd_config.d/10-tests.conf"
  chroot "$root" passwd -q -d root
  chroot "$root" systemctl -q enable systemd-networkd ssh docker
  chroot "$root" systemctl -q disable nginx postgresql docker-registry podman.socket podman-auto-update.timer \
    podman-restart 2>/dev/null || true
  # Noise that a test of quietness would meet by chance; the tests that want noise make it.
  chroot "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer man-db.timer e2scrub_all.timer fstrim.timer \
    podman-auto-update.service podman-auto-update.timer e2scrub_reap.service getty@tty1.service 2>/dev/null || true
}

kernel() {
  printf '%s\n' virtio_pci virtio_blk virtio_net ext4 crc32c_generic >>"$root/etc/initramfs-tools/modules"
  chroot "$root" update-initramfs -u >"$work/initramfs.log" 2>&1 || { cat "$work/initramfs.log" >&2; exit 1; }
  umount "$root/proc" "$root/sys"
  cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
  cp "$root"/boot/initrd.img-* "$work/initrd.img"
}

disk() {
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
  truncate -s 8G "$work/disk.raw"
  mke2fs -q -t ext4 -E lazy_itable_init=1 -O ^metadata_csum_seed -d "$root" "$work/disk.raw"
}

rm -rf --one-file-system "$work"
mkdir -p "$work"
say "unpacking Debian $suite"
bootstrap
say "installing ${#packages[@]} packages and what they depend on"
install_packages
say "settling the guest"
settle
say "making its kernel and first disk"
kernel
say "writing the disk"
disk
mkdir -p "$out"
mv "$work"/{disk.raw,vmlinuz,initrd.img,id_ed25519} "$out/"
say "done: $(du -sh "$out" | cut -f1)"
