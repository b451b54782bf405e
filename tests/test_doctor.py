import json
import sys

import pytest

from robofb import cli, doctor
from robofb.doctor import BROKEN, MISSING, OK, Finding, format_findings


def test_every_fix_stands_below_its_finding_and_the_verdict_last():
    text = format_findings([Finding("a", OK, "1.0"), Finding("gpu", MISSING, "none", "buy one")])
    assert text.splitlines() == [
        "ok     a    1.0",
        "-      gpu  none",
        "            fix: buy one",
        "",
        "robofb works on this machine.",
    ]
    assert format_findings([Finding("disk", BROKEN, "full", "free some")]).endswith("Broken: disk.")


def test_findings_name_this_python_and_the_engine_it_steps(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_renderers", list)  # three processes; tried below
    code = cli.run(["doctor", "--json"])
    findings = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert findings["python"]["detail"] == ".".join(map(str, sys.version_info[:3]))
    assert findings["engine mujoco"]["status"] == OK
    assert code == int(any(entry["status"] == BROKEN for entry in findings.values()))
    assert all(entry["fix"] for entry in findings.values() if entry["status"] == BROKEN)


def test_code_that_fails_in_another_process_is_reported_by_its_last_line():
    assert doctor._run("import sys") == ""
    assert doctor._run("raise ValueError('no display')") == "ValueError: no display"
    assert doctor._run("import os; os._exit(3)") == "ended with code 3"


def test_renderer_without_any_backend_tells_what_to_install(monkeypatch):
    monkeypatch.setattr(doctor, "_RENDER", "raise RuntimeError('no OpenGL')")
    (finding,) = doctor._renderers()
    assert finding.status == MISSING
    assert "apt install" in finding.fix


@pytest.mark.parametrize(("free_gib", "status"), [(1.0, BROKEN), (50.0, OK)])
def test_a_nearly_full_disk_is_broken(monkeypatch, free_gib, status):
    class Usage:
        free = free_gib * 2**30

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage)
    assert doctor._disk()[0].status == status
