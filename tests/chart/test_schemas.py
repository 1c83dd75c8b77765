"""What the chart makes is what Kubernetes and the makers of its custom resources take: strictly."""

import json
import pathlib
import subprocess
import tempfile
import unittest

import yaml

import chart
from chart import KUBE_VERSIONS, PORT
from matrix import MATRIX

# Groups whose schemas come from the CRDs in target/chart/crds; the rest is Kubernetes' own.
CUSTOM = ("gateway.networking.k8s.io", "cert-manager.io", "monitoring.coreos.com")


class Loader(yaml.CSafeLoader):
    """Reads a lone `=`, which stands in an enum of the Prometheus operator, as a text."""


Loader.add_constructor("tag:yaml.org,2002:value", Loader.construct_yaml_str)


def is_custom(made):
    return made["apiVersion"].split("/")[0] in CUSTOM


def schema(node):
    """A CRD's schema as kubeconform takes it: what is not named is refused, null is like absent."""
    if isinstance(node, list):
        return [schema(part) for part in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {
        key: {name: schema(part) for name, part in value.items()}
        if key == "properties"
        else schema(value)
        for key, value in node.items()
        if not key.startswith("x-kubernetes-") and key not in ("description", "default", "format")
    }
    is_open = "additionalProperties" in made or node.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in made and not is_open:
        made["additionalProperties"] = False
    return made


def write_schemas(folder):
    for path in (chart.TOOLS / "crds").glob("*.yaml"):
        definition = yaml.load(path.read_text(), Loader)["spec"]
        group = definition["group"].split(".")[0]
        kind = definition["names"]["kind"].lower()
        for version in definition["versions"]:
            made = schema(version["schema"]["openAPIV3Schema"])
            made["properties"]["metadata"] = {"type": "object"}
            for key in ("apiVersion", "kind"):
                made["properties"][key] = {"type": "string"}
            (folder / f"{kind}-{group}-{version['name']}.json").write_text(json.dumps(made))


class Schemas(unittest.TestCase):
    def test_helm_lint_is_content(self):
        for name in ("port", "everything"):
            chart.helm("lint", "--strict", chart.CHART, "--values=-", given=json.dumps(MATRIX[name]))

    def test_kubernetes_objects_are_strictly_valid(self):
        import kubernetes_validate

        count = 0
        for version in KUBE_VERSIONS:
            for name, given in MATRIX.items():
                for made in chart.render(given, kube_version=version):
                    if not is_custom(made):
                        with self.subTest(values=name, kubernetes=version, kind=made["kind"]):
                            minor = ".".join(version.split(".")[:2])
                            kubernetes_validate.validate(made, minor, strict=True)
                            count += 1
        self.assertGreater(count, 100)

    def test_a_misspelt_field_would_be_found(self):
        import kubernetes_validate

        made = chart.one(chart.render(PORT), "Deployment")
        made["spec"]["replicsa"] = 1
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(made, "1.34", strict=True)

    def test_custom_resources_are_strictly_valid(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            write_schemas(folder)
            made = [
                one for given in MATRIX.values() for one in chart.render(given) if is_custom(one)
            ]
            kinds = {one["kind"] for one in made}
            self.assertEqual(
                kinds,
                {
                    "Certificate",
                    "PodMonitor",
                    "PrometheusRule",
                    "ServiceMonitor",
                    "TCPRoute",
                    "TLSRoute",
                },
            )
            # TCPRoute is v1 from Gateway API 1.6 on, whose module asks for a newer Go: the same fields.
            for one in made:
                if one["kind"] == "TCPRoute":
                    one["apiVersion"] = "gateway.networking.k8s.io/v1alpha2"
            done = self.kubeconform(folder, made)
            self.assertEqual(done.returncode, 0, done.stdout)
            made[0]["spec"]["misspelt"] = 1
            self.assertNotEqual(self.kubeconform(folder, made).returncode, 0)

    def kubeconform(self, folder, made):
        location = folder / "{{.ResourceKind}}{{.KindSuffix}}.json"
        return subprocess.run(
            ["kubeconform", "-strict", "-summary", f"-schema-location={location}"],
            input=yaml.safe_dump_all(made), text=True, capture_output=True, check=False,
        )
