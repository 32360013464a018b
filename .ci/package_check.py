"""Check that the sdist and the wheel work without the checkout (`make package-check`).

Build the sdist, and the wheel from the sdist. Install the wheel into an empty environment, and use it from a
directory outside the checkout. Downloading torch again would take minutes and gigabytes, so the environment
gets links to packages in .venv: those that the wheel declares, their dependencies, and nothing else. A
package that depthbench imports but does not declare is therefore missing, as it is for a user.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

CHECKOUT = Path(__file__).resolve().parent.parent
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
RUN = "run --depths 8 --networks plain,resnet --seeds 1 --steps 5 --device cpu --results results"


def call(*command: str | Path, cwd: Path) -> str:
    """Return what a command prints. Exit with its output if it fails."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def dependencies(wheel: Path) -> list[metadata.Distribution]:
    """Return the installed packages that a wheel requires, directly or not, without its extras."""
    (required,) = metadata.distributions(name="depthbench", path=[str(wheel)])
    queue = [(line, "") for line in required.requires or []]
    closure, seen = {}, set()
    while queue:
        line, extra = queue.pop()
        requirement = Requirement(line)
        marker = requirement.marker
        if (line, extra) in seen or (marker and not marker.evaluate({"extra": extra})):
            continue
        seen.add((line, extra))
        package = metadata.distribution(requirement.name)
        closure[package.name] = package
        queue += [(line, extra) for line in package.requires or [] for extra in ("", *requirement.extras)]
    return list(closure.values())


def link(packages: list[metadata.Distribution], site_packages: Path) -> None:
    """Link the files and folders of installed packages into another environment."""
    for package in packages:
        for name in {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}:
            target = site_packages / name
            if not target.exists():
                target.symlink_to(package.locate_file(name))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder).resolve()
        call(sys.executable, "-m", "build", "--outdir", outside, CHECKOUT, cwd=outside)
        (sdist,), (wheel,) = outside.glob("*.tar.gz"), outside.glob("*.whl")
        with tarfile.open(sdist) as archive:
            packed = {name.split("/", 1)[-1] for name in archive.getnames()}
        studies = sorted((CHECKOUT / "studies").glob("*.toml"))
        missing = [study.name for study in studies if f"studies/{study.name}" not in packed]
        if missing:
            sys.exit(f"{sdist.name} lacks studies: {', '.join(missing)}")

        environment = outside / "environment"
        venv.create(environment)
        link(dependencies(wheel), environment / "lib" / PYTHON / "site-packages")
        binaries = environment / "bin"
        pip = [sys.executable, "-m", "pip", "--python", binaries / "python"]
        call(*pip, "install", "--no-index", wheel, cwd=outside)

        used = call(binaries / "python", "-c", "import depthbench; print(depthbench.__file__)", cwd=outside)
        if not Path(used).is_relative_to(environment):
            sys.exit(f"depthbench was imported from {used.strip()}, not from the wheel")
        listed = call(binaries / "depthbench", "list", "studies", cwd=outside)
        missing = [study.stem for study in studies if study.stem not in listed]
        if missing:
            sys.exit(f"`depthbench list studies` does not list {', '.join(missing)}")
        call(binaries / "depthbench", "new", "network", "mine", cwd=outside)
        call(binaries / "depthbench", "check", "mine.py", cwd=outside)
        call(binaries / "depthbench", *RUN.split(), cwd=outside)
        if not (outside / "results/quick/report/index.html").is_file():
            sys.exit(f"`depthbench {RUN}` wrote no report")
    print(f"{sdist.name} and {wheel.name} work without the checkout")


if __name__ == "__main__":
    main()
