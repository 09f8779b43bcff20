"""The five commands of docs/quickstart.md, from nothing to a provisioned `pki/` folder, pasted as they stand."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.e2e.test_first_steps import ROOT, TRIVET, House, house

__all__ = ["house"]  # the fixture

PAGE = ROOT / "docs/quickstart.md"


def commands() -> list[str]:
    section = PAGE.read_text().partition("## 5. Everything that a control plane holds")[2]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1].splitlines()


def test_five_commands_lead_from_nothing_to_a_provisioned_folder(
    house: House,
    require_tool: Callable[[str], str],
) -> None:
    require_tool("openssl")
    serve, *pasted = commands()
    assert (serve, len(pasted)) == ("make run", 4)
    (house.folder / ".venv/bin").mkdir(parents=True)
    (house.folder / ".venv/bin/trivet").symlink_to(TRIVET)
    house.init()  # the two commands behind `make run`
    with house.serving():
        show, provision, verify, check = [house.paste(command) for command in pasted]
        again = house.paste(pasted[1])
    for result in (show, provision, verify, check, again):
        assert result.returncode == 0, result
    assert "17 of 17 done" in provision.stderr
    assert verify.stdout.strip().endswith("apiserver.crt: OK")
    assert check.stdout.count(" good") == 15
    assert "nothing to do: all 17 are as the plan says" in again.stderr
    made = {
        str(path.relative_to(house.folder)) for path in Path(house.folder / ".trivet/cp-1").rglob("*.crt")
    }
    assert ".trivet/cp-1/etc/kubernetes/pki/etcd/peer.crt" in made
