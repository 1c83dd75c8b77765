"""Runs the tests of this folder and counts them as `cargo test` does: main.py [PART-OF-A-NAME…]."""

import pathlib
import sys
import unittest


class Result(unittest.TextTestResult):
    """One line a test, with its docstring left out: the names say what is promised."""

    def getDescription(self, test):
        return f"{type(test).__module__}.{test._testMethodName}"


def main():
    here = pathlib.Path(__file__).parent
    suite = unittest.defaultTestLoader.discover(str(here), pattern="test_*.py")
    wanted = sys.argv[1:]
    if wanted:
        suite = unittest.TestSuite(
            test for test in flat(suite) if any(part in test.id() for part in wanted)
        )
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Result, stream=sys.stdout)
    result = runner.run(suite)
    failed = len(result.failures) + len(result.errors)
    passed = result.testsRun - failed
    print(f"test result: {'ok' if failed == 0 else 'FAILED'}. {passed} passed; {failed} failed")
    sys.exit(failed != 0)


def flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


if __name__ == "__main__":
    main()
