"""The systemd unit: Type=notify is kept by the program."""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import unittest

import chart

UNIT = chart.ROOT / "charts/image/narrows.service"


class Service(unittest.TestCase):
    def test_the_manager_is_told_when_narrows_is_ready_and_when_it_stops(self):
        self.assertIn("\nType=notify\n", UNIT.read_text())
        with tempfile.TemporaryDirectory() as folder:
            manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.addCleanup(manager.close)
            path = pathlib.Path(folder) / "notify"
            manager.bind(str(path))
            manager.settimeout(60)
            narrows = subprocess.Popen(
                [chart.NARROWS, "run", "--bootstrap-servers=127.0.0.1:1", "--bind=127.0.0.1:39092",
                 "--advertised-host=localhost", "--node-ids=0"],
                env={**os.environ, "NOTIFY_SOCKET": str(path)},
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            self.addCleanup(narrows.kill)
            self.assertEqual(manager.recv(64), b"READY=1")
            socket.create_connection(("127.0.0.1", 39092)).close()
            narrows.send_signal(signal.SIGTERM)
            self.assertEqual(manager.recv(64), b"STOPPING=1")
            self.assertEqual(narrows.wait(60), 0)
