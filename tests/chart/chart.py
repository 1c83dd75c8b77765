"""Renders the chart, as `helm template` does it."""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CHART = ROOT / "charts/narrows"
TOOLS = pathlib.Path(os.environ["TOOLS"])
NARROWS = os.environ["NARROWS"]
# For what several tests share; gone when they end.
SHARED = tempfile.TemporaryDirectory(prefix="narrows-chart-")
HELM4 = TOOLS / "helm4/helm"
KUBE_VERSIONS = ("1.29.0", "1.34.0")

# The three values of the README.
PORT = {"bootstrapServers": "kafka:9092", "externalHost": "kafka.example.com", "scheme": "port"}
SINGLE = {**PORT, "scheme": "single"}
SNI = {**PORT, "scheme": "sni", "tls": {"secretName": "narrows-tls"}}


class Refused(Exception):
    """Helm says no; the text is what it says."""


def helm(*arguments, given=None, program="helm"):
    done = subprocess.run(
        [program, *map(str, arguments)], input=given, text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def values(*parts):
    """The parts laid over each other, as Helm does with several files."""
    result = {}
    for part in parts:
        merge(result, part)
    return result


def merge(below, above):
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            below[key] = dict(below[key])
            merge(below[key], value)
        else:
            below[key] = value


def text(*parts, chart=CHART, kube_version="1.34.0", release="r", program="helm"):
    """What Helm writes for these values."""
    return helm(
        "template", release, chart, "--namespace=ns", f"--kube-version={kube_version}",
        "--values=-", given=json.dumps(values(*parts)), program=program,
    )


def render(*parts, **options):
    """The objects, in a list."""
    return [one for one in yaml.safe_load_all(text(*parts, **options)) if one]


def one(objects, kind):
    """The only object of this kind."""
    found = [one for one in objects if one["kind"] == kind]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def pod(objects):
    return one(objects, "Deployment")["spec"]["template"]["spec"]


def configuration(objects):
    """narrows.yaml, read."""
    return yaml.safe_load(one(objects, "ConfigMap")["data"]["narrows.yaml"])


@functools.cache
def chart_with_notes():
    """A copy of the chart that puts its notes into a ConfigMap: `helm template` leaves them out."""
    copy = pathlib.Path(SHARED.name) / "narrows"
    shutil.copytree(CHART, copy)
    notes = (copy / "templates/NOTES.txt").read_text()
    (copy / "templates/notes.yaml").write_text(
        '{{- define "notes" -}}' + notes + "{{- end -}}\n"
        'apiVersion: v1\nkind: Notes\ndata: {{ include "notes" . | toJson }}\n'
    )
    return copy


def notes(*parts, release="r"):
    return one(render(*parts, chart=chart_with_notes(), release=release), "Notes")["data"]
