"""Looks for known vulnerabilities in the installed dependencies, with pip-audit.

    python tools/audit_dependencies.py [PYTHON]

PYTHON is the interpreter whose installed distributions are looked up (this one by default); pip
itself, onnxlrp and what is installed from a folder are left out. pip-audit has an environment of
its own, made on demand (`tools/server_env.py`). The status is 1 where a vulnerability is known.
Where no advisory service answers, the status is 0 and one line `SKIPPED: pip-audit: reason` says
so: a service counts only if it knows that `urllib3 1.24` is vulnerable, as pip-audit finds nothing
wrong with a distribution that it cannot look up.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.server_env import MissingError, python_of

SERVICES: Final = ("pypi", "osv")
CANARY: Final = "urllib3==1.24"
LEFT_OUT: Final = ("pip", "onnxlrp")

_TIMEOUT: Final = 10
_PATIENCE: Final = 240


class UnavailableError(Exception):
    """A service does not answer; the text says why."""


def installed(python: str) -> list[str]:
    """Return the distributions of an interpreter as `name==version`."""
    left_out = [word for name in LEFT_OUT for word in ("--exclude", name)]
    options = ["--disable-pip-version-check", "--format=freeze", "--exclude-editable", *left_out]
    command = [python, "-m", "pip", "list", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # A local version, as in torch 2.13.0+cpu, is known to no service.
    return [line.split("+")[0] for line in done.stdout.split() if "==" in line]


def look_up(command: Sequence[str], service: str, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Return what a service says of each distribution.

    Raises:
        UnavailableError: It does not answer, or pip-audit fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("\n".join(wanted) + "\n")
        options = ["--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"]
        words = [*options, f"--timeout={_TIMEOUT}", f"--vulnerability-service={service}"]
        try:
            done = subprocess.run(
                [*command, *words, f"--requirement={file}"],
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE,
            )
            found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"{service} takes too long") from error
        except (ValueError, KeyError) as error:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["no answer"]
            raise UnavailableError(f"{service}: {said[-1].strip()[:200]}") from error
    return found


def find_service(command: Sequence[str]) -> str:
    """Return the first service that knows an old vulnerability.

    Raises:
        UnavailableError: None does.
    """
    reasons = []
    for service in SERVICES:
        try:
            known = look_up(command, service, [CANARY])
        except UnavailableError as error:
            reasons.append(str(error))
            continue
        if any(each.get("vulns") for each in known):
            return service
        reasons.append(f"{service} does not know the vulnerabilities of {CANARY}")
    raise UnavailableError("; ".join(reasons))


def report(found: Sequence[dict[str, Any]]) -> int:
    """Print the vulnerabilities and what could not be looked up; return how many there are."""
    bad = [(each, flaw) for each in found for flaw in each.get("vulns", ())]
    skipped = [each["name"] for each in found if "skip_reason" in each]
    for each, flaw in bad:
        fixed = ", ".join(flaw.get("fix_versions", ())) or "none yet"
        print(f"{each['name']} {each['version']}: {flaw['id']}, fixed in: {fixed}")
    if skipped:
        print(f"not looked up: {', '.join(skipped)}")
    print(f"{len(found) - len(skipped)} distributions, {len(bad)} known vulnerabilities")
    return len(bad)


def audit(command: Sequence[str], python: str) -> int:
    """Look everything up and return the status."""
    try:
        service = find_service(command)
        found = look_up(command, service, installed(python))
    except UnavailableError as error:
        print(f"SKIPPED: pip-audit: {error}")
        return 0
    return 1 if report(found) else 0


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("python", metavar="PYTHON", nargs="?", default=sys.executable)
    python = parser.parse_args().python
    try:
        command = [str(python_of("pip-audit")), "-m", "pip_audit"]
    except MissingError as error:
        print(f"SKIPPED: pip-audit: {error}")
        return 0
    return audit(command, python)


if __name__ == "__main__":
    sys.exit(main())
