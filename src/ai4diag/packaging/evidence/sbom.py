"""What a run's software was made of: CycloneDX 1.6 from the list of installed packages.

Source: CycloneDX 1.6 (ECMA-424) and package URLs (ECMA-427). Licences are those that the packages themselves declare,
where the same version is installed here; nothing is guessed.
"""

from __future__ import annotations

import importlib.metadata
import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ai4diag.errors import DataError

LONGEST_LICENCE = 64
"""Characters; some packages put the whole text where its name belongs."""
SPACE = uuid.UUID("8f6b7f0e-6a55-5b57-9a3b-5a3f3cf1d2aa")
"""Makes serial numbers of this kind of document differ from others made from the same run."""


def packages(environment: str) -> list[tuple[str, str]]:
    """Return name and version of each line `name==version`, sorted.

    Raises:
        DataError: a line is not of that form.
    """
    found = []
    for line in environment.splitlines():
        name, same, version = line.strip().partition("==")
        if not (name and same and version):
            raise DataError(f"environment.txt: '{line[:80]}' is not `name==version`.", "Evaluate the run again.")
        found.append((name, version))
    return sorted(found)


def make_sbom(environment: str, record: Mapping[str, Any]) -> str:
    """Return the bill of materials as JSON text; the same arguments on the same machine give the same bytes.

    Args:
        environment: `environment.txt` of the run.
        record: its facts; `run_id`, `pipeline`, `created` and `evaluated` are used.
    """
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from packageurl import PackageURL

    factory = LicenseFactory()
    components = []
    for name, version in packages(environment):
        licence = declared_licence(name, version)
        components.append(
            Component(
                type=ComponentType.LIBRARY,
                name=name,
                version=version,
                purl=PackageURL("pypi", name=name, version=version),
                bom_ref=f"pkg:pypi/{name}@{version}",
                licenses=[factory.make_from_string(licence)] if licence else [],
            )
        )
    about = Component(
        type=ComponentType.APPLICATION,
        name=str(record["pipeline"]),
        version=str(record["run_id"]),
        bom_ref=f"run:{record['run_id']}",
    )
    metadata = BomMetaData(timestamp=datetime.fromisoformat(str(record["created"])), component=about)
    bom = Bom(components=components, serial_number=uuid.uuid5(SPACE, str(record["run_id"])), metadata=metadata)
    bom.register_dependency(about, components)
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    return text + "\n"


def declared_licence(name: str, version: str) -> str:
    """Return the licence that an installed package declares; empty where another version is installed, or none is."""
    try:
        found = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
    if found["Version"] != version:
        return ""
    fields: Mapping[str, Any] = found  # type: ignore[assignment] # an email.message.Message
    for key in ("License-Expression", "License"):
        text = str(fields.get(key) or "").strip()
        if text and text.lower() != "unknown" and "\n" not in text and len(text) <= LONGEST_LICENCE:
            return text
    named = [line for line in found.get_all("Classifier") or [] if line.startswith("License :: ")]
    words = [line.rpartition(" :: ")[2] for line in named if line != "License :: OSI Approved"]
    return words[0] if len(words) == 1 else ""


def listed(sbom: str) -> list[tuple[str, str]]:
    """Return name and version of the components of a bill of materials, sorted.

    Raises:
        DataError: it is not one, or the package URL of a component says something else.
    """
    from packageurl import PackageURL

    try:
        found = sorted(
            (str(item["name"]), str(item["version"]), str(item["purl"])) for item in json.loads(sbom)["components"]
        )
        if all(purl == PackageURL("pypi", name=name, version=version).to_string() for name, version, purl in found):
            return [(name, version) for name, version, _ in found]
        raise ValueError
    except (ValueError, KeyError, TypeError):
        raise DataError("sbom.cdx.json is not a CycloneDX bill of materials.", "Build the pack again.") from None
