"""What the comparison needs, made on demand: Python packages, the Rust peers, semrx, the models."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent


class Missing(Exception):
    """Something could not be made; the text says why."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def call(command, log, **options):
    """Runs a command with its output in `log`. Raises Missing with the last line that says something."""
    with open(log, "w", encoding="utf-8") as out:
        done = subprocess.run(list(map(str, command)), stdout=out, stderr=subprocess.STDOUT, check=False, **options)
    if done.returncode:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
        errors = [line for line in lines if re.match(r"(?i)error|\w*error:", line)]
        last = (errors or [line for line in lines if line] or ["it said nothing"])[-1]
        raise Missing(f"{last} (all of it in {log})")


class Packages:
    """A virtual environment in the cache, with the pinned packages."""

    def __init__(self, cache):
        self.cache, self.folder = cache, cache / "venv"
        self.python = self.folder / "bin" / "python"

    def install(self, requirements):
        text = (HERE / requirements).read_text(encoding="utf-8")
        installed = self.folder / f"{requirements}.installed"
        if installed.exists() and installed.read_text(encoding="utf-8") == text:
            return
        if not self.python.exists():
            call([sys.executable, "-m", "venv", self.folder], self.cache / "venv.log")
        say(f"installing {requirements}: {', '.join(line for line in text.splitlines() if not line.startswith('#'))}")
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", HERE / requirements]
        if requirements != "requirements.txt":
            # onnxruntime and the rest keep their versions, whatever else comes.
            pip += ["-c", HERE / "requirements.txt"]
        call(pip, self.cache / f"{requirements}.log")
        installed.write_text(text, encoding="utf-8")

    def version(self, package):
        code = f"import importlib.metadata as m; print(m.version({package!r}))"
        return subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def build(cache, folder, target, program):
    """Builds `program` of the Cargo project in `folder`."""
    say(f"building {program}")
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_TERM_COLOR": "never"}
    command = ["cargo", "build", "--locked", "--release", "--bin", program]
    if not shutil.which("cargo"):
        raise Missing("there is no cargo: install Rust from https://rustup.rs")
    call(command, cache / f"{program}.log", cwd=folder, env=environment)
    return target / "release" / program


def locked_version(crate):
    lock = tomllib.loads((HERE / "rust" / "Cargo.lock").read_text(encoding="utf-8"))
    return next(package["version"] for package in lock["package"] if package["name"] == crate)


class Models:
    """The made models, in a folder named after all that goes into them: a change makes them anew."""

    def __init__(self, cache, python, restore):
        digest = hashlib.sha256(restore.read_bytes())
        for path in sorted([*(HERE / "models").glob("*.py"), *HERE.glob("requirements*.txt")]):
            digest.update(path.read_bytes())
        self.folder = cache / "models" / digest.hexdigest()[:12]
        self.python, self.restore = python, restore
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(restore, self.folder / "restore.onnx")

    def make(self, name, *arguments):
        """Runs models/make_`name`.py, if it has not run to its end before."""
        made = self.folder / f"{name}.made"
        if not made.exists():
            say(f"making the models of make_{name}.py")
            script = HERE / "models" / f"make_{name}.py"
            call([self.python, script, self.folder, *arguments], self.folder / f"{name}.log", cwd=self.folder)
            made.touch()
