#!/bin/sh
# Builds subsolar_VERSION_ARCH.deb: the distribution with its libraries below /opt/subsolar, the unit, sample missions,
# the packages that ship. For the machine it runs on: build on a Jetson for a Jetson. Usage: build.sh PYTHON OUT
set -eu
python=$1
out=$2
here=$(cd "$(dirname "$0")/../.." && pwd)
version=$("$python" -c 'import tomllib, sys; print(tomllib.load(open(sys.argv[1], "rb"))["project"]["version"])' \
    "$here/pyproject.toml" 2>/dev/null || sed -n 's/^version = "\(.*\)"/\1/p' "$here/pyproject.toml" | head -1)
minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
arch=$(dpkg --print-architecture)
root=$out/root
rm -rf "$root"
mkdir -p "$root/DEBIAN" "$root/opt/subsolar" "$root/usr/bin" "$root/usr/share/subsolar/missions" \
    "$root/usr/share/doc/subsolar" "$root/usr/lib/systemd/system" "$root/usr/lib/sysusers.d" "$root/usr/lib/tmpfiles.d" \
    "$root/etc/subsolar/keys"

"$python" -m pip --disable-pip-version-check install --quiet --no-compile --target "$root/opt/subsolar" "$here[cpu]"
rm -rf "$root/opt/subsolar/bin"
sed "s/@MINOR@/$minor/" "$here/deploy/debian/subsolar.sh" > "$root/usr/bin/subsolar"
chmod 755 "$root/usr/bin/subsolar"
cp "$here/deploy/systemd/subsolar.service" "$root/usr/lib/systemd/system/"
cp "$here/deploy/systemd/jetson.conf" "$root/usr/share/subsolar/"
cp "$here/deploy/systemd/subsolar.sysusers" "$root/usr/lib/sysusers.d/subsolar.conf"
cp "$here/deploy/systemd/subsolar.tmpfiles" "$root/usr/lib/tmpfiles.d/subsolar.conf"
cp "$here"/deploy/missions/*.toml "$root/usr/share/subsolar/missions/"
cp "$here/deploy/missions/satellite.toml" "$root/etc/subsolar/mission.toml"
cp "$here"/deploy/keys/*.pub.pem "$root/etc/subsolar/keys/"
cp -r "$here/deploy/packages" "$root/usr/share/subsolar/packages"
# doctor, check, bench and infer look for what ships beside the packages of Python.
mkdir "$root/opt/subsolar/deploy"
ln -s /etc/subsolar/keys "$root/opt/subsolar/deploy/keys"
for name in packages missions; do ln -s "/usr/share/subsolar/$name" "$root/opt/subsolar/deploy/$name"; done
cp "$here/docs/install.md" "$here/docs/handbook.md" "$here/LICENSE" "$root/usr/share/doc/subsolar/"
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@MINOR@/$minor/g" \
    -e "s/@SIZE@/$(du -sk "$root" | cut -f1)/" "$here/deploy/debian/control" > "$root/DEBIAN/control"
# An operator's mission file, and a key that was taken away, stay as they are when the package is installed again.
(cd "$root" && find etc -type f -printf '/%p\n' | sort) > "$root/DEBIAN/conffiles"
for script in postinst prerm; do
    cp "$here/deploy/debian/$script" "$root/DEBIAN/$script"
    chmod 755 "$root/DEBIAN/$script"
done
find "$root" -type d -exec chmod 755 {} +
dpkg-deb --root-owner-group -Zxz -z3 --build "$root" "$out/subsolar_${version}_${arch}.deb"
