"""What charts/generate writes is up to date, and leaves nothing out."""

import importlib.machinery
import importlib.util
import json
import re
import unittest

import yaml

import chart


def generate():
    path = str(chart.ROOT / "charts/generate")
    loader = importlib.machinery.SourceFileLoader("generate", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("generate", loader))
    loader.exec_module(module)
    return module


VALUES = yaml.safe_load((chart.CHART / "values.yaml").read_text())
SCHEMA = json.loads((chart.CHART / "values.schema.json").read_text())


def leaves(value, path=()):
    """The paths of all values that have no parts."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from leaves(part, (*path, key))
    else:
        yield path


class Generated(unittest.TestCase):
    def test_the_readmes_table_is_what_values_yaml_says(self):
        path, text = generate().readme()
        self.assertEqual(path.read_text(), text, "run charts/generate target/debug/narrows")

    def test_the_schema_of_config_is_the_one_that_narrows_prints(self):
        text = (chart.CHART / "values.schema.json").read_text()
        self.assertEqual(generate().schema(chart.NARROWS), text, "run charts/generate")
        self.assertIs(SCHEMA["$defs"]["narrows"]["additionalProperties"], False)

    def test_each_value_is_documented(self):
        documented = {key for key, _, _ in generate().documented()}
        for path in leaves(VALUES):
            prefixes = {".".join(path[: i + 1]) for i in range(len(path))}
            self.assertTrue(prefixes & documented, ".".join(path))

    def test_each_value_is_in_the_schema_and_each_of_the_schema_in_values_yaml(self):
        def compare(values, schema, path):
            known = schema.get("properties")
            if known is None or schema.get("additionalProperties") is not False:
                return
            self.assertLessEqual(set(values), set(known), path)
            for key, value in values.items():
                if isinstance(value, dict):
                    compare(value, known[key], f"{path}.{key}")

        compare(VALUES, SCHEMA, "")
        self.assertEqual(set(VALUES), set(SCHEMA["properties"]))

    def test_every_section_of_the_schema_refuses_what_it_does_not_know(self):
        for key in ("", "image", "service", "certificate", "gateway", "metrics", "autoscaling"):
            section = SCHEMA["properties"][key] if key else SCHEMA
            self.assertIs(section["additionalProperties"], False, key)

    def test_links_of_the_readmes_lead_somewhere(self):
        for readme in chart.ROOT.glob("charts/**/README.md"):
            for link in re.findall(r"\]\(([^)#]+)\)", readme.read_text()):
                if "://" not in link:
                    self.assertTrue((readme.parent / link).exists(), f"{readme.name}: {link}")
