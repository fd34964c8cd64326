"""The committed stubs are what proto/ says. Runs where the oldest toolchain is: `.env-manager/python-lowest`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(
    importlib.util.find_spec("grpc_tools") is None, reason="no grpcio-tools here: see the lowest versions"
)
def test_the_stubs_are_those_of_proto() -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "generate_stubs.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_old_generators_stubs_need_no_newer_protobuf() -> None:
    for path in (ROOT / "src/env_manager/v1").glob("*_pb2.py"):
        assert "runtime_version" not in path.read_text(), f"{path.name} is of a newer generator"
