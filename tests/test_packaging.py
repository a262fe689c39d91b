"""What is installed: the services appear in `twistd` and `twist` however the package got there.

Built and installed without the network: the build backend of the running environment is used,
and fresh environments find Twisted and the rest in the running one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

from twistedp2p import __version__

ROOT = Path(__file__).parent.parent
SERVICES = {"echo", "tracker", "peer"}
INSTALLS = ("plain", "from_sdist", "editable")
SCRIPTS = {
    "twistd": "from twisted.scripts.twistd import run as main",
    "twist": "from twisted.application.twist._twist import Twist; main = Twist.main",
}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed, in an environment without a PYTHONPATH; return its output."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CI")}
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{command} said\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources: building writes into them."""
    copy = tmp_path_factory.mktemp("source") / "twistedp2p"
    made = (".*", "__pycache__", "*.egg-info", "build", "dist", "dropin.cache", "_trial_temp*")
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*made))
    return copy


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    return build(source, "--sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheels(source: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What pip would install, for each way of installing."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (tree,) = unpacked.iterdir()
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in INSTALLS}
    # What `pip install -e` asks of the build backend.
    editable = f"from setuptools import build_meta; build_meta.build_editable({str(folders['editable'])!r})"
    run(sys.executable, "-c", editable, cwd=source)
    return {
        "plain": build(source, "--wheel", folders["plain"]),
        "from_sdist": build(tree, "--wheel", folders["from_sdist"]),
        "editable": next(folders["editable"].iterdir()),
    }


def build(tree: Path, kind: str, into: Path) -> Path:
    """Build `tree` into the empty folder `into` and return the one file that is then there."""
    run(sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", into, cwd=tree)
    (made,) = into.iterdir()
    return made


def install(wheel: Path, into: Path) -> Path:
    """Make a fresh environment at `into` with `wheel` in it; return its folder of programs."""
    run(sys.executable, "-m", "venv", "--without-pip", into, cwd=into.parent)
    python = into / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=into.parent)
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=into).strip())
    # A .pth file names folders, but the .pth files in those are not read: an editable
    # installation in the running environment stays out.
    found = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (packages / "dependencies.pth").write_text("".join(f"{path}\n" for path in found))
    for name, program in SCRIPTS.items():
        script = into / "bin" / name
        script.write_text(f"#!{python}\n{program}\nmain()\n")
        script.chmod(0o755)
    return into / "bin"


@pytest.mark.parametrize("kind", INSTALLS)
def test_services_are_found(kind: str, wheels: dict[str, Path], tmp_path: Path) -> None:
    """After each kind of installation, started elsewhere, `twistd` and `twist` list our services and ours runs."""
    programs = install(wheels[kind], tmp_path / "venv")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = run(programs / "python", "-c", "import twistedp2p; print(twistedp2p.__file__)", cwd=elsewhere)
    assert (str(tmp_path) in where) == (kind != "editable")
    for name in SCRIPTS:
        listed = run(programs / name, "--help", cwd=elsewhere)
        assert {line.split()[0] for line in listed.splitlines() if line.split()} >= SERVICES
        assert "--listen" in run(programs / name, "echo", "--help", cwd=elsewhere)
    assert __version__ in run(programs / "twistedp2p", "--version", cwd=elsewhere)


def test_discovery_loads_nothing(tmp_path: Path) -> None:
    """Looking for services loads neither our package nor the reactor: `--reactor` can still choose one."""
    program = (
        "import sys; from twisted.plugin import getPlugins; from twisted.application.service import IServiceMaker\n"
        "names = {plugin.tapname for plugin in getPlugins(IServiceMaker)}\n"
        "print(sorted(names & {'echo', 'tracker', 'peer'}), 'twistedp2p' in sys.modules,"
        " 'twisted.internet.reactor' in sys.modules)"
    )
    assert run(sys.executable, "-c", program, cwd=tmp_path).split("\n")[-2] == "['echo', 'peer', 'tracker'] False False"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_service_can_be_loaded(name: str) -> None:
    """Each service has options that parse with no arguments, and a description."""
    (plugin,) = (plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == name)
    assert plugin.description.endswith(".")
    assert callable(plugin.makeService)
    assert "--listen" in str(plugin.options())


@pytest.mark.parametrize("kind", ["plain", "from_sdist"])
def test_wheel_content(kind: str, source: Path, wheels: dict[str, Path]) -> None:
    """A wheel has the package, its type marker and the plugins, and nothing of Twisted's or of the tests."""
    with zipfile.ZipFile(wheels[kind]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {path.relative_to(source).as_posix() for path in (source / "twistedp2p").rglob("*.py")}
    expected |= {"twistedp2p/py.typed", "twisted/plugins/twistedp2p_plugins.py"}
    assert {name for name in names if name.endswith((".py", ".typed"))} == expected
    assert {name.split("/")[0] for name in names} == {"twistedp2p", "twisted"}


def test_sdist_content(sdist: Path) -> None:
    """The source distribution has what is needed to test and to build it again."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt", "setup.cfg", "pyproject.toml"}
    needed |= {"tests/conftest.py", "tests/test_packaging.py", "twisted/plugins/twistedp2p_plugins.py"}
    assert needed <= names
    assert sdist.name == f"twistedp2p-{__version__}.tar.gz"


def test_no_init_in_twisted_folders() -> None:
    """`twisted/` and `twisted/plugins/` have no `__init__.py`: it would hide Twisted, or our plugins."""
    assert list((ROOT / "twisted").rglob("__init__.py")) == []
