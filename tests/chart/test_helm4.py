"""Helm 4 makes of the chart what Helm 3 makes of it, and refuses what it refuses."""

import unittest

import chart
from chart import HELM4, PORT, Refused, chart_with_notes, render, text, values
from matrix import MATRIX


class Helm4(unittest.TestCase):
    def test_it_is_helm_4(self):
        self.assertIn("v4.", chart.helm("version", "--short", program=HELM4))

    def test_it_renders_the_same_objects_and_notes_in_the_same_order(self):
        for name, given in MATRIX.items():
            with self.subTest(values=name):
                ways = [
                    render(given, chart=chart_with_notes(), program=program)
                    for program in ("helm", HELM4)
                ]
                self.assertEqual(*ways)

    def test_it_refuses_with_the_same_sentence(self):
        given = values(PORT, {"terminationGracePeriodSeconds": 10})
        said = []
        for program in ("helm", HELM4):
            with self.assertRaises(Refused) as refused:
                text(given, program=program)
            said.append(str(refused.exception).partition("terminationGracePeriodSeconds")[2])
        self.assertTrue(said[0])
        self.assertEqual(said[0].split("\n")[0], said[1].split("\n")[0])

    def test_lint_finds_nothing(self):
        told = chart.helm("lint", "--strict", chart.CHART, "--values=-",
                          given='{"bootstrapServers": "k:1", "externalHost": "h"}', program=HELM4)
        self.assertIn("0 chart(s) failed", told)
