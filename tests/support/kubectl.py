"""Unmodified kubectls of several versions, each in a home of its own, and what they print."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

OLDEST = (1, 29)  # older ones cannot apply: they want version 2 of OpenAPI
_NAMED = re.compile(r"kubectl\.(\d+)\.(\d+)")
_PRINTED = re.compile(r"v(\d+)\.(\d+)\.")


def found_kubectls() -> dict[tuple[int, int], Path]:
    """Every kubectl on the path and beside it whose version is new enough, one of each minor version."""
    on_path = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    plain = shutil.which("kubectl")
    beside = [Path(plain).resolve().parent] if plain else []
    found = {
        (int(match[1]), int(match[2])): path
        for folder in (*on_path, *beside, Path("/usr/lib/google-cloud-sdk/bin"))
        for path in sorted(folder.glob("kubectl.*"))
        if (match := _NAMED.fullmatch(path.name))
    }
    if plain:
        found.setdefault(_version_of(plain), Path(plain))
    return {version: path for version, path in sorted(found.items()) if version >= OLDEST}


def _version_of(path: str) -> tuple[int, int]:
    command = [path, "version", "--client", "-o", "yaml"]
    printed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout
    match = _PRINTED.search(printed)
    return (int(match[1]), int(match[2])) if match else (0, 0)


@dataclass(frozen=True)
class Kubectl:
    """A kubectl with its kubeconfig, at work in a folder."""

    path: Path
    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, seconds: float = 30, stdin: str = "") -> tuple[int, str]:
        """Run a command; give its exit status and all that it printed, errors after the rest."""
        done = subprocess.run(
            [str(self.path), *arguments],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        return done.returncode, done.stdout + done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that goes on until it is ended."""
        return subprocess.Popen(
            [str(self.path), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def make_kubectl(
    path: Path, folder: Path, server: str, authority: Path, users: dict[str, dict[str, str]]
) -> Kubectl:
    """Give a kubectl a fresh home, and a context for each user; the first one is current."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = {"server": server, "certificate-authority": str(authority)}
    contexts = [
        {"name": name, "context": {"cluster": "trivet", "user": name, "namespace": "kube-system"}}
        for name in users
    ]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "trivet", "cluster": cluster}],
        "users": [{"name": name, "user": user} for name, user in users.items()],
        "contexts": contexts,
        "current-context": next(iter(users)),
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    environment = {
        "HOME": str(folder),
        "KUBECONFIG": str(folder / "kubeconfig"),
        "PATH": os.environ["PATH"],
        "TMPDIR": str(folder),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
    return Kubectl(path, folder, environment)


_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000( UTC)?)?"), "TIME"),
    (re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000"), "TIME"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"https://127\.0\.0\.1:\d+"), "https://SERVER"),
    (re.compile(r"(?m)(?<=\s)(?:\d+[smhd]){1,2}(?:[ \t]{2,}|[ \t]*$)"), "AGE   "),
    (re.compile(r"(?<=laptop-)[a-z0-9]{5}\b"), "RANDOM"),
    (re.compile(r"/\S*/(LIVE|MERGED)-\d+"), r"\1"),
    (re.compile(r'(?<="request":")[A-Za-z0-9+/=]+|(?<=request: )[A-Za-z0-9+/=]{60,}'), "REQUEST"),
    (re.compile(r"(?<=system:bootstrap:)[a-z0-9]{6}\b"), "ID"),
    (re.compile(r"X509SHA256=[0-9a-f]{64}"), "X509SHA256=DIGEST"),
    (re.compile(r"(?<=trivet-)\d+\.\d+\.\d+(\.dev\d+)?"), "VERSION"),
    (re.compile(r"(?<=Client Version: )\S+"), "vCLIENT"),
    (re.compile(r"(?<=Kustomize Version: )\S+"), "vKUSTOMIZE"),
    (re.compile(r"(?<=client \()1\.\d+(?=\))"), "CLIENT"),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)


# The entries of managedFields are in the order of their times, which are in whole seconds.
_MANAGED = re.compile(r"(?m)(?:^  - apiVersion: .*\n(?:^    .*\n)+)+")
_ENTRY = re.compile(r"(?m)^(?=  - apiVersion: )")


def steady(printed: str) -> str:
    """What was printed, without what changes from run to run."""
    printed = _MANAGED.sub(lambda found: "".join(sorted(_ENTRY.split(found[0]))), printed)
    for pattern, word in _CHANGING:
        printed = pattern.sub(word, printed)
    return printed
