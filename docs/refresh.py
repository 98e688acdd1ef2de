"""Runs the commands that a document shows, and puts what they print in the place of what stands there.

    cargo build --release && python docs/refresh.py docs/evidence.md [--only WORD]

Commands are the lines that begin with "$ " in fenced blocks: what follows, up to the next one or the end of the block, is their standard output. They run one
after another in this repository's folder, `semrx` is target/release/semrx (or that of CARGO_TARGET_DIR), and one that fails leaves the document
as it was. After new weights, run it on docs/evidence.md: a quarter of an hour. Sentences and Markdown tables around the blocks are for whoever changed the weights to read again.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def refreshed(lines, run):
    """The lines, with what `run` gives for each command."""
    out, is_block, is_output = [], False, False
    for line in lines:
        if line.startswith("```"):
            is_block, is_output = not is_block, False
            out.append(line)
        elif is_block and line.startswith("$ "):
            printed = run(line[2:])
            is_output = printed is not None
            out += [line, *(printed or [])]
        elif not is_output:
            out.append(line)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("document", type=Path)
    p.add_argument("--only", default="", metavar="WORD", help="only the commands with WORD in them")
    args = p.parse_args()
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    environment = {**os.environ, "PATH": f"{target.absolute()}/release:{os.environ['PATH']}"}

    def run(command):
        if args.only not in command:
            return None
        print(command, file=sys.stderr, flush=True)
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"exit code {done.returncode}: {args.document} stays as it was")
        return [line.rstrip() for line in done.stdout.splitlines()]

    lines = refreshed(args.document.read_text().splitlines(), run)
    args.document.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
