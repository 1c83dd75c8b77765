"""The image of charts/image/build, unpacked, and run by runc as a node would: no engine, no network."""

import functools
import hashlib
import json
import pathlib
import subprocess
import tarfile
import tempfile
import time
import uuid

import chart

BUILD = chart.ROOT / "charts/image/build"


def build(*arguments):
    """Runs charts/image/build; what it prints."""
    done = subprocess.run(
        [BUILD, *map(str, arguments)], check=True, text=True, stdout=subprocess.PIPE
    )
    return done.stdout


@functools.cache
def binary():
    """The static binary, built once."""
    done = subprocess.run(
        [chart.ROOT / "charts/image/binary"], check=True, text=True, stdout=subprocess.PIPE
    )
    return chart.ROOT / done.stdout.strip()


@functools.cache
def archive():
    """The image archive, and the digest that was printed."""
    out = pathlib.Path(chart.SHARED.name) / "image.tar"
    printed = build("image", "--binary", binary(), "--out", out, "--name", "localhost/narrows:test")
    return out, printed.split()[1]


class Blobs:
    """An OCI layout in a tar; every blob is what its digest says."""

    def __init__(self, path):
        with tarfile.open(path) as tar:
            self.files = {
                entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()
            }

    def __getitem__(self, digest):
        content = self.files[digest.replace("sha256:", "blobs/sha256/")]
        assert digest == "sha256:" + hashlib.sha256(content).hexdigest()
        return content

    def index(self):
        return json.loads(self.files["index.json"])

    def image(self):
        """(manifest, configuration, the layer's bytes) of the only image."""
        [described] = self.index()["manifests"]
        manifest = json.loads(self[described["digest"]])
        [layer] = manifest["layers"]
        return manifest, json.loads(self[manifest["config"]["digest"]]), self[layer["digest"]]


class Container:
    """A process of the image under runc: user 65532, read-only root, no capabilities, own network."""

    def __init__(self, arguments, mounts=()):
        self.folder = tempfile.TemporaryDirectory(prefix="narrows-runc-")
        self.name = f"narrows-{uuid.uuid4().hex[:8]}"
        bundle = pathlib.Path(self.folder.name)
        _, configuration, layer = Blobs(archive()[0]).image()
        subprocess.run(["mkdir", bundle / "rootfs"], check=True)
        subprocess.run(
            ["tar", "-xz", "-C", bundle / "rootfs", "-f", "-"], input=layer, check=True
        )
        spec = specification(configuration["config"], arguments, mounts)
        (bundle / "config.json").write_text(json.dumps(spec))
        self.log = open(bundle / "log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            ["runc", "--root", bundle / "state", "run", "--bundle", bundle,
             "--pid-file", bundle / "pid", self.name],
            stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )
        self.bundle = bundle
        self.pid = self.started()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.runc("delete", "--force", self.name)
        self.process.wait(60)
        self.log.close()
        self.folder.cleanup()

    def runc(self, command, *arguments):
        return subprocess.run(
            ["runc", "--root", self.bundle / "state", command, *arguments],
            text=True, capture_output=True, check=False,
        )

    def started(self):
        """The number of the process, once it is there."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            if (pid := read(self.bundle / "pid")):
                return int(pid)
            time.sleep(0.02)
        # A short program may be over by now.
        return int(read(self.bundle / "pid") or 0)

    def status(self):
        """/proc/PID/status of the process, by the kernel's words."""
        lines = pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}

    def get(self, path, seconds=60):
        """Asks the admin port from inside the container's network, until it answers."""
        deadline = time.monotonic() + seconds
        while True:
            done = subprocess.run(
                ["nsenter", f"--net=/proc/{self.pid}/ns/net", "curl", "-s", "-m", "5", "-w",
                 "\n%{http_code}", f"http://127.0.0.1:9190{path}"],
                text=True, capture_output=True, check=False,
            )
            if done.returncode == 0:
                text, _, code = done.stdout.rpartition("\n")
                return int(code), text
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"no answer from {path}: {self.said()}")
            time.sleep(0.05)

    def said(self):
        self.log.seek(0)
        return self.log.read()


def read(path):
    """The text of a file, empty if there is none."""
    return path.read_text() if path.exists() else ""


def specification(image, arguments, mounts):
    """The runtime's configuration, as restrictive as Pod Security `restricted` and more."""
    user, group = map(int, image["User"].split(":"))
    none = {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")}
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": user, "gid": group},
            "args": [*image["Entrypoint"], *arguments],
            "env": image["Env"],
            "cwd": "/",
            "capabilities": none,
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "narrows",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            *(
                {"destination": inside, "type": "bind", "source": str(outside),
                 "options": ["bind", "ro"]}
                for outside, inside in mounts
            ),
        ],
        "linux": {
            "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": ["/proc/kcore", "/proc/keys"],
            "readonlyPaths": ["/proc/sys"],
        },
    }
