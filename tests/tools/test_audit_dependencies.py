"""The dependency audit: fails for what is known, and does not take silence for safety."""

import json
import sys

import pytest

from tools.audit_dependencies import audit, installed

FAKE = """
import json, sys
answers = json.loads({answers!r})
service = [w.split("=")[1] for w in sys.argv if w.startswith("--vulnerability-service")][0]
path = [w.split("=", 1)[1] for w in sys.argv if w.startswith("--requirement")][0]
names = [line.split("==") for line in open(path).read().split()]
if answers[service] is None:
    sys.exit("ConnectionError: no route")
flaw = {{"id": "PYSEC-1", "fix_versions": ["9"]}}
dependencies = [
    {{"name": n, "version": v, "vulns": [flaw] if n in answers[service] else []}} for n, v in names
]
print(json.dumps({{"dependencies": dependencies}}))
"""


@pytest.fixture
def audited(tmp_path, capsys):
    """Audit this environment with a program that knows the given vulnerabilities."""

    def audited(**answers):
        program = tmp_path / "fake.py"
        program.write_text(FAKE.format(answers=json.dumps(answers)))
        status = audit([sys.executable, str(program)], sys.executable)
        return status, capsys.readouterr().out

    return audited


def test_nothing_known(audited):
    status, said = audited(pypi=["urllib3"], osv=None)
    assert (status, said.endswith(" distributions, 0 known vulnerabilities\n")) == (0, True)


def test_a_known_vulnerability_fails(audited):
    status, said = audited(pypi=["urllib3", "numpy"], osv=None)
    assert status == 1
    assert "numpy " in said
    assert "PYSEC-1, fixed in: 9" in said


def test_pip_is_not_ours():
    names = {line.split("==")[0] for line in installed(sys.executable)}
    assert "numpy" in names
    assert not names & {"pip", "onnxlrp"}


def test_a_service_that_knows_nothing_is_not_believed(audited):
    status, said = audited(pypi=[], osv=None)
    assert status == 0
    assert said.startswith("SKIPPED: pip-audit: pypi does not know the vulnerabilities")
    assert "osv: ConnectionError: no route" in said


def test_the_second_service_is_asked(audited):
    status, said = audited(pypi=None, osv=["urllib3", "numpy"])
    assert (status, "numpy " in said) == (1, True)
