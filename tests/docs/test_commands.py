"""Every command of the tutorials and how-tos is pasted into a shell beside a running service, or says what it needs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import make_url
from tests.support.forked_command import forked_command
from tests.support.kubectl import found_kubectls
from tests.support.pages import MARKS, ROOT, Block, blocks, script
from tests.support.served import Served, environment, free_port, serving, set_up

from website.navigation import HOW_TO, TUTORIALS

# Pages elsewhere in the navigation whose commands are run as well; the first two look at what the quick start made.
AT_ONCE, OTHERS = ("status.md", "ocsp.md"), ("cli.md", "concepts.md", "metrics.md")
QUICKSTART, *FURTHER = TUTORIALS.values()
# Pages whose blocks tests of their own run.
ELSEWHERE = {
    "hsm.md", "kubelet.md", "rotation.md", "sdk.md", "sdk-python.md", "sdk-typescript.md", "tracing.md",
}  # fmt: skip
PAGES = [
    page
    for page in (QUICKSTART, *AT_ONCE, *FURTHER, *HOW_TO.values(), *OTHERS)
    if (ROOT / "docs" / page).exists() and page not in ELSEWHERE
]
TOOLS = ("createdb", "curl", "jq", "openssl", "promtool", "psql", "sqlite3")
# What begins a line that somebody would paste.
COMMAND = re.compile(
    r"^(?:\$ )?(?:sudo |\./|\.venv/bin/|venv/bin/|/opt/trivet/)?"
    r"(?:trivet|kubectl|kubeadm|curl|openssl|docker|systemctl|make|pip|git|scp|ssh|psql|createdb|createuser|pg_dump|etcdctl"
    r"|install|nginx|haproxy|step|cfssl|python3? -m) [\w./<-]",
    re.MULTILINE,
)


def runnable(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.language in {"sh", "python"} and block.mark is None]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A checkout as a reader has it: an installation that serves, docs/, and the command."""
    folder = tmp_path_factory.mktemp("checkout")
    http = free_port()
    for name in ("deploy", "docs"):
        (folder / name).symlink_to(ROOT / name)
    served = set_up(folder, "--http-port", str(http), "--pki-base-url", f"http://127.0.0.1:{http}")
    (folder / ".trivet/http-port").write_text(str(http))
    with ExitStack() as stack:
        stack.enter_context(forked_command(folder / ".venv/bin/trivet", tmp_path_factory.mktemp("socket")))
        stack.enter_context(serving(served, "--workers", "1"))
        yield served


def pasted(house: Served, text: str, database: str | None) -> str:
    """What a reader would change: ports, because these are taken; the database's host."""
    http = (house.folder / ".trivet/http-port").read_text()
    text = re.sub(r"^make run$", "true", text, flags=re.MULTILINE)
    text = text.replace("8443", str(house.port)).replace("8480", http)
    return text.replace("postgresql://trivet@db.example.com/trivet", database) if database else text


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)])
def test_the_commands_of_a_page_do_what_they_say(
    page: str, house: Served, require_tool: Callable[[str], str], request: pytest.FixtureRequest
) -> None:
    text = script(runnable(page))
    for tool in TOOLS:
        if re.search(rf"^{tool} ", text, re.MULTILINE):
            require_tool(tool)
    variables = environment(house.folder) | {"PYTHON": sys.executable}
    if re.search(r"^kubectl ", text, re.MULTILINE):
        if not (known := found_kubectls()):
            pytest.skip("there is no kubectl from 1.29 on")
        (house.folder / "bin").mkdir(exist_ok=True)
        (house.folder / "bin/kubectl").unlink(missing_ok=True)
        (house.folder / "bin/kubectl").symlink_to(known[max(known)])
        variables["PATH"] = f"{house.folder}/bin:{variables['PATH']}"
    database = None
    if "postgresql://trivet@db.example.com" in text:
        server = make_url(request.getfixturevalue("postgres_url"))
        socket = str(server.query["host"])
        variables |= {"PGHOST": socket, "PGUSER": str(server.username), "PGDATABASE": "postgres"}
        database = f"postgresql://trivet@/trivet?host={socket}"
    variables["PATH"] = f"{house.folder}/.venv/bin:{variables['PATH']}"
    done = subprocess.run(
        ["bash", "-c", pasted(house, text, database)],
        cwd=house.folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("page", PAGES)
def test_a_block_of_commands_is_run_or_says_what_it_needs(page: str) -> None:
    for block in blocks(page):
        assert block.language, f"{block}: say what this is: sh, text, yaml, …"
        if block.language == "sh":
            assert block.mark or not block.title or block.code, (
                f"{block}: {block.title!r} is none of {set(MARKS)}"
            )
        elif block.language == "text":
            assert not COMMAND.search(block.text), f"{block}: commands are sh, to be run or marked"


def test_what_is_not_run_is_listed() -> None:
    skipped = [block for page in PAGES for block in blocks(page) if block.language == "sh" and block.mark]
    run = [block for page in PAGES for block in runnable(page)]
    for block in skipped:
        print(f"{block}: {block.mark}")  # noqa: T201  -s shows it
    assert len(run) > len(skipped)
    assert {block.mark for block in skipped} <= MARKS.keys()
