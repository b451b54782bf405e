"""What bounds an arm is said, and not left to defaults."""

from __future__ import annotations

import re

import pytest

from robofb import config
from robofb.build import build, build_whole
from robofb.errors import UserError


def test_a_config_of_limits_must_say_all_of_them() -> None:
    cfg = config.compose("deploy", ["run=r", "arm=ur"])
    assert build_whole("limits", cfg.limits).joints is not None
    node = dict(cfg.limits)
    del node["joints"], node["low_m"]
    with pytest.raises(UserError, match=re.escape("limits: leaves out low_m, joints; say each")):
        build_whole("limits", node)


@pytest.mark.parametrize("node", [None, {}])
def test_limits_that_are_missing_are_refused(node: object) -> None:
    with pytest.raises(UserError, match="limits: is missing"):
        build_whole("limits", node)


def test_a_key_that_a_class_does_not_take_is_named_with_those_that_it_takes() -> None:
    node = {"_target_": "robofb.deploy.limits.Limits", "max_sped_m_s": 1.0}
    with pytest.raises(UserError, match="Limits: no key 'max_sped_m_s'; valid: low_m, .*max_speed_m_s"):
        build(node)
    with pytest.raises(UserError, match="Limits: no key 'max_sped_m_s'"):
        build({**node, "_partial_": True})


def test_a_package_whose_installation_declares_it_may_be_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "my_lab.py").write_text(
        "class Easy:\n    def __init__(self, size):\n        self.size = size\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    node = {"_target_": "my_lab.Easy", "size": 3}
    with pytest.raises(
        UserError, match=r"names my_lab.Easy: only .* entry point in the group robofb.packages"
    ):
        build(node)
    facts = tmp_path / "my_lab-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lab\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[robofb.packages]\nmy_lab = my_lab\n")
    assert build(node).size == 3
    with pytest.raises(UserError, match="names my_laboratory.Easy"):
        build({"_target_": "my_laboratory.Easy"})
