"""The image: what is in it, that it is the same every time, and that it runs where little is allowed."""

import gzip
import hashlib
import io
import json
import pathlib
import re
import tarfile
import tempfile
import time
import unittest

import chart
import image
from image import Blobs, Container

SIZE_MAX = 20_000_000
FLAGS = (
    "run", "--bootstrap-servers=broker.test:29092", "--bind=0.0.0.0:9092",
    "--advertised-host=kafka.example.com", "--admin-bind=127.0.0.1:9190",
)


class Image(unittest.TestCase):
    def test_it_is_one_binary_with_its_licences_and_its_user(self):
        _, _, layer = Blobs(image.archive()[0]).image()
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            files = {e.name: e for e in tar if e.isfile()}
            self.assertEqual(
                set(files),
                {
                    "narrows", "etc/passwd", "etc/group",
                    *(f"usr/share/doc/narrows/{n}"
                      for n in ("LICENSE", "THIRD-PARTY-LICENSES", "sbom.cdx.json")),
                },
            )
            passwd = tar.extractfile("etc/passwd").read().decode()
        self.assertIn("narrows:x:65532:65532:", passwd)
        self.assertEqual(files["narrows"].mode, 0o755)
        self.assertEqual({(e.uid, e.gid, e.mtime) for e in files.values()}, {(0, 0, 0)})

    def test_its_configuration_is_that_of_a_user_without_rights(self):
        _, configuration, layer = Blobs(image.archive()[0]).image()
        self.assertEqual(configuration["config"]["User"], "65532:65532")
        self.assertEqual(configuration["config"]["Entrypoint"], ["/narrows"])
        self.assertEqual(configuration["os"], "linux")
        [layer_id] = configuration["rootfs"]["diff_ids"]
        unpacked = hashlib.sha256(gzip.decompress(layer)).hexdigest()
        self.assertEqual(layer_id, f"sha256:{unpacked}")

    def test_it_is_named_and_found_by_the_digest_that_is_printed(self):
        path, digest = image.archive()
        [described] = Blobs(path).index()["manifests"]
        self.assertEqual(described["digest"], digest)
        self.assertEqual(
            described["annotations"]["io.containerd.image.name"], "localhost/narrows:test"
        )

    def test_it_is_small(self):
        path, _ = image.archive()
        self.assertLess(path.stat().st_size, SIZE_MAX)
        self.assertLess(image.binary().stat().st_size, SIZE_MAX)

    def test_building_it_again_gives_the_same_bytes(self):
        path, _ = image.archive()
        with tempfile.TemporaryDirectory() as folder:
            again = pathlib.Path(folder) / "again.tar"
            image.build(
                "image", "--binary", image.binary(), "--out", again,
                "--name", "localhost/narrows:test",
            )
            self.assertEqual(again.read_bytes(), path.read_bytes())

    def test_an_image_of_two_architectures_has_both(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "two.tar"
            stand_in = pathlib.Path(folder) / "narrows"
            stand_in.write_text("arm")
            image.build(
                "image", "--out", out, "--target=x86_64-unknown-linux-gnu", "--binary",
                image.binary(), "--target=aarch64-unknown-linux-gnu", "--binary", stand_in,
            )
            blobs = Blobs(out)
            [index] = blobs.index()["manifests"]
            both = json.loads(blobs[index["digest"]])["manifests"]
        self.assertEqual([m["platform"]["architecture"] for m in both], ["amd64", "arm64"])

    def test_the_binary_is_static_and_knows_no_path_of_this_machine(self):
        content = image.binary().read_bytes()
        self.assertNotIn(b"/ld-linux", content)
        for path in (chart.ROOT, pathlib.Path.home() / ".cargo", pathlib.Path.home() / ".rustup"):
            self.assertNotIn(str(path).encode(), content)

    def test_the_bill_of_materials_has_every_crate_by_version_licence_and_checksum(self):
        bill = json.loads(image.build("sbom"))
        self.assertEqual((bill["bomFormat"], bill["specVersion"]), ("CycloneDX", "1.5"))
        parts = {part["name"]: part for part in bill["components"]}
        for name in ("tokio", "rustls", "aws-lc-sys", "libc"):
            self.assertRegex(parts[name]["purl"], f"^pkg:cargo/{name}@[0-9]")
            self.assertEqual(len(parts[name]["hashes"][0]["content"]), 64)
        for name in ("proptest", "tempfile", "rcgen"):  # for tests only
            self.assertNotIn(name, parts)

    def test_the_tarball_has_what_a_first_try_needs(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "narrows.tar.gz"
            image.build("tarball", "--binary", image.binary(), "--out", out)
            first = out.read_bytes()
            image.build("tarball", "--binary", image.binary(), "--out", out)
            self.assertEqual(out.read_bytes(), first)
            with tarfile.open(out) as tar:
                names = {pathlib.PurePath(e.name).name: e for e in tar if e.isfile()}
                unit = tar.extractfile(names["narrows.service"]).read().decode()
        self.assertLessEqual({"narrows", "LICENSE", "narrows.yaml", "README.md"}, set(names))
        self.assertIn("ExecStart=/usr/local/bin/narrows run --config", unit)


def dial_failures(reason):
    """The pattern of a count above zero."""
    return rf'narrows_broker_dial_failures_total\{{[^}}]*reason="{reason}"\}} [1-9]'


class Running(unittest.TestCase):
    def test_it_runs_as_65532_read_only_without_capabilities(self):
        with Container(FLAGS) as container:
            self.assertEqual(container.get("/readyz")[0], 200)
            status = container.status()
            self.assertEqual(status["Uid"], ["65532"] * 4)
            self.assertEqual(status["CapBnd"], ["0" * 16])
            self.assertEqual(status["CapEff"], ["0" * 16])
            self.assertEqual(status["NoNewPrivs"], ["1"])
            mounts = pathlib.Path(f"/proc/{container.pid}/mounts").read_text()
            self.assertRegex(mounts, r"(?m)^\S+ / \S+ ro,")

    def test_it_resolves_names_without_files_of_a_c_library(self):
        with tempfile.NamedTemporaryFile("w", suffix=".hosts") as hosts:
            hosts.write("127.0.0.1 broker.test\n")
            hosts.flush()
            pathlib.Path(hosts.name).chmod(0o644)
            with Container(FLAGS, mounts=[(hosts.name, "/etc/hosts")]) as container:
                said = self.failures(container, "refused")
        self.assertNotRegex(said, dial_failures("dns"))

    def test_a_name_that_is_nowhere_is_said_to_be_so(self):
        with Container(FLAGS) as container:
            self.failures(container, "dns")

    def failures(self, container, reason):
        """Waits until a dial failed for this reason; the metrics then."""
        for _ in range(100):
            _, text = container.get("/metrics")
            if re.search(dial_failures(reason), text):
                return text
            time.sleep(0.1)
        self.fail(f"no dial failed by {reason}: {container.said()}")

    def test_without_a_store_of_authorities_it_has_its_own(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "narrows.yaml"
            path.write_text(
                "clusters: {a: {bootstrap_servers: 'broker.test:9092', tls: {mode: 'on'}}}\n"
                "listeners: {b: {bind: '0.0.0.0:9092', address: {advertised_host: h.example}}}\n"
            )
            pathlib.Path(folder).chmod(0o755)
            with Container(
                ["check", "--config", "/config/narrows.yaml"], mounts=[(folder, "/config")]
            ) as container:
                code = container.process.wait(60)
                self.assertEqual(code, 0, container.said())

    def test_it_ends_at_a_sigterm_with_code_0(self):
        with Container(FLAGS) as container:
            self.assertEqual(container.get("/livez")[0], 200)
            container.runc("kill", container.name, "TERM")
            self.assertEqual(container.process.wait(60), 0)
