"""The recipes and presets: each renders to a configuration that Narrows itself takes."""

import pathlib
import re
import subprocess
import tempfile
import unittest

import chart
from chart import PORT, one, values
from matrix import MATRIX


def certificate(folder):
    """Writes a certificate for every name under example.com, and its key."""
    names = ",".join(
        f"DNS:{name}"
        for host in ("kafka", "orders", "billing")
        for name in (f"{host}.example.com", f"*.{host}.example.com")
    )
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days=100", "-subj=/CN=test", f"-addext=subjectAltName={names}",
         f"-keyout={folder}/tls.key", f"-out={folder}/tls.crt"],
        check=True, capture_output=True,
    )


def check(text, folder):
    """What `narrows check` says to a configuration whose Secrets lie in `folder`."""
    for kind, name, file in set(re.findall(r"/(secrets|configmaps)/([^/\s]+)/(\S+)", text)):
        place = folder / kind / name
        place.mkdir(parents=True, exist_ok=True)
        source = folder / ("tls.key" if file.endswith(".key") else "tls.crt")
        (place / file).write_bytes(source.read_bytes())
    path = folder / "narrows.yaml"
    path.write_text(re.sub(r"/(secrets|configmaps)/", rf"{folder}/\1/", text))
    return subprocess.run(
        [chart.NARROWS, "check", "--config", path], text=True, capture_output=True, check=False
    )


class Recipes(unittest.TestCase):
    def test_narrows_takes_the_configuration_of_every_recipe_and_preset(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            certificate(folder)
            for name, given in MATRIX.items():
                with self.subTest(values=name):
                    objects = chart.render(given)
                    text = next(
                        o["data"]["narrows.yaml"]
                        for o in objects
                        if o["kind"] == "ConfigMap" and "narrows.yaml" in o["data"]
                    )
                    done = check(text, folder)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    self.assertNotIn("warning", done.stdout + done.stderr)

    def test_a_wrong_configuration_would_be_found(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            certificate(folder)
            given = values(PORT, {"config": {"listeners": {"external": {"bind": "300.0.0.1:9092"}}}})
            text = one(chart.render(given), "ConfigMap")["data"]["narrows.yaml"]
            self.assertNotEqual(check(text, folder).returncode, 0)

    def test_notes_are_true_of_every_recipe(self):
        expected = {
            "strimzi": "bootstrap.servers=kafka.example.com:443\n",
            "confluent": "bootstrap.servers=kafka.example.com:9092\n",
            "bitnami": "bootstrap.servers=kafka.example.com:9092\n",
            "statefulset": "9092 for bootstrap, 9093 to 9102 for the node ids 0 to 9",
            "statefulset-one-name": "9092 for bootstrap, 9093 to 9102 for the node ids 0 to 9",
            "several-clusters": "bootstrap.servers=billing.example.com:9092\n",
        }
        recipes = {path.stem for path in (chart.CHART / "recipes").glob("*.yaml")}
        self.assertEqual(recipes, set(expected))
        for name, part in expected.items():
            self.assertIn(part, chart.notes(MATRIX[name]))

    def test_the_strimzi_recipe_trusts_the_authority_of_the_brokers(self):
        objects = chart.render(MATRIX["strimzi"])
        listeners = chart.configuration([o for o in objects if o["kind"] == "ConfigMap"])
        self.assertEqual(
            listeners["clusters"]["kafka"]["tls"]["ca"], "/secrets/orders-cluster-ca-cert/ca.crt"
        )
        volumes = chart.pod(objects)["volumes"]
        secrets = [v["secret"]["secretName"] for v in volumes if "secret" in v]
        self.assertEqual(secrets, ["orders-cluster-ca-cert", "r-narrows-tls"])

    def test_brokers_with_one_name_are_dialled_by_the_names_of_their_pods(self):
        cluster = chart.configuration(chart.render(MATRIX["statefulset-one-name"]))["clusters"]
        self.assertEqual(cluster["kafka"]["broker_address"], "kafka-{node_id}.kafka-svc:9092")

    def test_two_clusters_share_one_port(self):
        service = one(chart.render(MATRIX["several-clusters"]), "Service")
        self.assertEqual([p["port"] for p in service["spec"]["ports"]], [9092])
        names = one(chart.render(MATRIX["several-clusters"]), "Certificate")["spec"]["dnsNames"]
        self.assertEqual(
            names,
            ["billing.example.com", "*.billing.example.com", "orders.example.com",
             "*.orders.example.com"],
        )
