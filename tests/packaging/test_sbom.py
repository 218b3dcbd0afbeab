"""The bill of materials: every package, and valid by the schema of CycloneDX."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import json

import pytest

from ai4diag.errors import DataError
from ai4diag.packaging.evidence.sbom import declared_licence, listed, make_sbom, packages
from ai4diag.tracking.record import environment

RECORD = {"run_id": "0123456789abcdef", "pipeline": "breast-mass", "created": "2026-11-22T19:34:49+00:00"}


@pytest.fixture(scope="module")
def sbom():
    return make_sbom(environment(), RECORD)


def test_it_is_valid_by_the_schema_of_cyclonedx_1_6(sbom):
    """The schema as OWASP publishes it, checked by jsonschema, with the schemas that it refers to."""
    jsonschema = pytest.importorskip("jsonschema")
    from referencing import Registry, Resource

    folder = importlib.resources.files("cyclonedx.schema") / "_res"
    known = {
        path.name: json.loads(path.read_text("utf-8"))
        for path in folder.iterdir()
        if path.name.endswith(".schema.json") and path.name.split(".")[0] in ("spdx", "jsf-0", "cryptography-defs")
    }
    main = json.loads((folder / "bom-1.6.SNAPSHOT.schema.json").read_text("utf-8"))
    base = main["$id"].rpartition("/")[0]
    registry = Registry().with_resources((f"{base}/{name}", Resource.from_contents(one)) for name, one in known.items())
    check = jsonschema.Draft7Validator(main, registry=registry)
    assert not list(check.iter_errors(json.loads(sbom)))
    broken = json.loads(sbom)
    broken["components"][0]["type"] = "spell"
    assert list(check.iter_errors(broken))  # the check can fail


def test_every_package_is_there_with_its_purl(sbom):
    found = json.loads(sbom)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert listed(sbom) == packages(environment())
    purls = {item["purl"] for item in found["components"]}
    assert f"pkg:pypi/numpy@{importlib.metadata.version('numpy')}" in purls
    named = [item for item in found["dependencies"] if item["ref"].startswith("run:")]
    assert len(named[0]["dependsOn"]) == len(purls) == len(found["components"])


def test_the_same_run_gives_the_same_bytes():
    some = "\n".join(environment().splitlines()[:12])
    sbom = make_sbom(some, RECORD)
    assert make_sbom(some, RECORD) == sbom
    assert make_sbom(some, {**RECORD, "run_id": "f" * 16}) != sbom


def test_a_licence_is_what_the_installed_version_declares_and_nothing_else():
    version = importlib.metadata.version("click")
    assert declared_licence("click", version) == "BSD-3-Clause"
    assert declared_licence("click", "0.0.1") == ""
    assert declared_licence("no-such-package-at-all", "1") == ""


def test_what_is_no_list_of_packages_is_refused():
    with pytest.raises(DataError, match="name==version"):
        packages("numpy>=1\n")
    with pytest.raises(DataError, match="bill of materials"):
        listed("[]")


def test_a_package_url_that_names_another_package_is_found(sbom):
    with pytest.raises(DataError, match="bill of materials"):
        listed(sbom.replace("pkg:pypi/numpy@", "pkg:pypi/numpi@"))
