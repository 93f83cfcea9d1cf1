"""An auditor copies the log of a running service into static files."""

from __future__ import annotations

import json

import pytest
from credproof.base.errors import CredproofError
from credproof.log.tiles import parse_bundle, tiles
from credproof.mirror import Mirror

from tests.cli.command import run
from tests.rpc.conftest import AUDITOR
from tests.rpc.stories import start_again


def test_a_copy_holds_every_entry_and_grows_with_the_log(running, tmp_path):
    home = running.home(AUDITOR).folder
    for _ in range(2):
        running.person()
        told = json.loads(run("audit", "export", tmp_path / "copy", "--json", home=home))
        with running.world.auditor() as auditor:
            lines = list(auditor.lines(0, told["size"]))
            mirror = Mirror(tmp_path / "copy", auditor.trust.log_key)
        assert told["root"] == mirror.checkpoint.root_hash.hex()
        bundles = [tile for tile in tiles(told["size"]) if tile.level is None]
        read = [parse_bundle((tmp_path / "copy" / t.path).read_bytes(), t.width) for t in bundles]
        assert [line for bundle in read for line in bundle] == lines


@pytest.mark.parametrize("file", ["tile/0/**/*", "tile/entries/**/*", "checkpoint"])
def test_a_damaged_copy_is_told_by_its_file_where_the_log_has_not_grown(running, tmp_path, file):
    home = running.home(AUDITOR).folder
    run("audit", "export", tmp_path, home=home)
    path = min(found for found in tmp_path.glob(file) if found.is_file())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    told = run("audit", "export", tmp_path, home=home, code=1)
    assert f"{path.relative_to(tmp_path)} of the copy" in told
    assert "(MIRROR_DAMAGED)\nnext:  export into another directory" in told
    again = json.loads(run("audit", "export", tmp_path, "--json", home=home, code=1))
    assert (again["reason"], again["advice"][:6]) == ("MIRROR_DAMAGED", "export")


def test_a_log_that_is_shorter_than_its_copy_is_told_to_whoever_never_audited(running, tmp_path):
    with running.world.auditor() as auditor:
        start_again(auditor)
        auditor.export(tmp_path)
        newest = auditor.checkpoint()
        auditor.checkpoint = lambda: _shorter(newest)
        with pytest.raises(CredproofError) as error:
            auditor.export(tmp_path)
    assert error.value.reason == "LOG_SHRANK"


def _shorter(checkpoint):
    return type(checkpoint)(checkpoint.origin, 1, checkpoint.root_hash, checkpoint.note)
