"""What runs on a device before edgedx is there: a few lines of shell and of Python's standard library."""

from __future__ import annotations

PROBE = """
import importlib.util, json, os, shutil, struct, sys
root = os.path.abspath(os.path.expanduser(sys.argv[1]))
above = root
while not os.path.exists(above):
    above = os.path.dirname(above)
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION").split()[1].split(".")[:2]
except (ValueError, OSError, AttributeError, IndexError):
    libc = None
print(json.dumps({
    "executable": sys.executable,
    "python": "%d.%d" % sys.version_info[:2],
    "arch": {"arm64": "aarch64", "AMD64": "x86_64"}.get(os.uname().machine, os.uname().machine),
    "bits": 8 * struct.calcsize("P"),
    "glibc": libc,
    "root": root,
    "free_bytes": shutil.disk_usage(above).free,
    "writable": os.access(above, os.W_OK | os.X_OK),
    "has_venv": importlib.util.find_spec("venv") is not None,
    "has_rsync": shutil.which("rsync") is not None,
}))
"""
"""One line of JSON about the machine and the folder of argument 1. Runs on any Python 3."""

BUILD = """
set -eu
cd "$1"; new="$1/$2"; wheels="$3"; pip="$4"; python="$5"; shift 5
exec 9>.deploy.lock
if command -v flock >/dev/null 2>&1; then flock -n 9 || exit 75; fi
rm -rf "$new"
undo() { code=$?; [ -e "$new/.whole" ] || rm -rf "$new"; exit $code; }
trap undo EXIT
"$python" -m venv --without-pip "$@" "$new"
PIP_CONFIG_FILE=/dev/null PYTHONNOUSERSITE=1 "$new/bin/python" "$wheels/$pip/pip" --isolated --no-cache-dir \\
    --disable-pip-version-check --no-input install --quiet --no-index --no-deps --require-hashes --only-binary=:all: \\
    --ignore-installed --root-user-action=ignore --find-links "$wheels" -r "$wheels/requirements.txt"
"$new/bin/edgedx" --version >/dev/null
sync
touch "$new/.whole"
rm -rf "$wheels"
"""
"""Environment $2 below $1 from the wheels in $3, by pip's wheel $4 and Python $5; further words go to venv.

Without pip in the environment: Debian and Ubuntu keep ensurepip in a package that an offline device may lack. No
index, no configuration, no cache: what is not in the folder with the right hash is not installed. ``.whole`` is
written last, after a sync: an environment without it is made anew.
"""

SWITCH = """
set -eu
cd "$1"
before=$(readlink venv || true)
if [ "$before" != "$2" ]; then
    rm -f .venv.new; ln -s "$2" .venv.new; mv -T .venv.new venv; sync
fi
for old in venv-* wheels-*; do
    case "$old" in "$2"|"$before"|"venv-*"|"wheels-*") ;; *) rm -rf "$old" ;; esac
done
find incoming -type f ! -name "$3" -exec rm -f {} +
"""
"""Make environment $2 below $1 the one in use; keep the one before and bundle $3, remove all others."""

ANSWERS = """
import json, os, sys
found = {}
for name in os.listdir(sys.argv[1]):
    if name.endswith(".json"):
        with open(os.path.join(sys.argv[1], name)) as stream:
            one = json.load(stream)
        times = {key: one["runtime"][key] for key in ("decode_ms", "preprocess_ms", "infer_ms")}
        found[one["source"]["sha256"]] = dict(
            times, status=one["status"], probabilities=(one["prediction"] or {}).get("probabilities"),
            reason=(one["reason"] or {}).get("code"))
print(json.dumps(found))
"""
"""Results of a scan as one JSON object by the images' SHA-256, without names or header values."""
