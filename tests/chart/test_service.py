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
# An address and ports that no connection of this machine is given by chance.
BIND = ("127.39.9.2", 19092)


class Service(unittest.TestCase):
    def start(self, folder):
        """Narrows, and the socket that its manager listens to."""
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        path = pathlib.Path(folder) / "notify"
        manager.bind(str(path))
        manager.settimeout(60)
        narrows = subprocess.Popen(
            [chart.NARROWS, "run", "--bootstrap-servers=127.0.0.1:1", f"--bind={BIND[0]}:{BIND[1]}",
             "--advertised-host=localhost", "--node-ids=0"],
            env={**os.environ, "NOTIFY_SOCKET": str(path)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        self.addCleanup(narrows.kill)
        self.assertEqual(manager.recv(64), b"READY=1")
        return narrows, manager

    def test_the_manager_is_told_when_narrows_is_ready_and_when_it_stops(self):
        self.assertIn("\nType=notify\n", UNIT.read_text())
        with tempfile.TemporaryDirectory() as folder:
            narrows, manager = self.start(folder)
            socket.create_connection(BIND).close()
            narrows.send_signal(signal.SIGTERM)
            self.assertEqual(manager.recv(64), b"STOPPING=1")
            self.assertEqual(narrows.wait(60), 0)

    def test_the_manager_is_told_which_process_is_the_service_after_an_upgrade(self):
        with tempfile.TemporaryDirectory() as folder:
            narrows, manager = self.start(folder)
            narrows.send_signal(signal.SIGUSR2)
            # Of the new process and of the old one.
            told = sorted([manager.recv(64), manager.recv(64)])
            self.assertEqual(told[1], b"READY=1")
            successor = int(told[0].removeprefix(b"MAINPID="))
            self.assertEqual(narrows.wait(60), 0)
            socket.create_connection(BIND).close()
            os.kill(successor, signal.SIGTERM)
            self.assertEqual(manager.recv(64), b"STOPPING=1")
